// TanStack Virtual asks which environment it was built for, as bundlers would answer.
globalThis.process ??= { env: { NODE_ENV: "production" } };
