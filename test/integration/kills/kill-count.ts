/** How many kills each test makes: 10, or what WALKBACK_KILLS says; `npm run kills` makes 100. */
export const killCount = Number(process.env['WALKBACK_KILLS'] ?? 10);
