/** How many kills each test makes: 10, or what WALKBACK_KILLS says; `npm run kills` makes 100. */
export const killCount = Number(process.env['WALKBACK_KILLS'] ?? 10);

/** Of a test that kills an agent so often: three seconds for each kill are seldom needed, and a machine that has much else to do takes more. */
export const killsTimeoutMs = 60_000 + killCount * 10_000;
