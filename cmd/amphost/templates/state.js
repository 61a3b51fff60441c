// Counts visits. They are on disk before they are answered, and survive a
// restart: what is decided and written within one transaction is done as a
// whole, or not at all.
import * as amp from "amphost";

const Example = new amp.Command("Example", {
  arguments: { name: amp.Unicode() },
  response: { visits: amp.Integer(), before: amp.Unicode({ optional: true }) },
});

Example.responder(({ name }) =>
  amp.store.update((tx) => {
    const before = tx.get("last"); // undefined the first time
    tx.put("last", name);
    return { visits: tx.counter(name).next(), before };
  }),
);
