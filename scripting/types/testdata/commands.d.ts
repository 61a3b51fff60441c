declare module "amphost" {
  interface Commands {
    Sum: { arguments: { a: number | bigint; b: number | bigint }; response: { total: number } };
    Ping: { arguments: {}; response: {} };
  }
}
