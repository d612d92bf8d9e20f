/** The part of a pino logger that the agent uses: facts first, then a sentence. */
export interface AgentLog {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}
