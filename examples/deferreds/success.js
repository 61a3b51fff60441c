// A promise that is kept.
const { promise, resolve } = Promise.withResolvers();

promise
  .then((poem) => {
    console.log("Your poem is served:");
    console.log(poem);
  })
  .catch(() => console.log("No poetry for you."))
  .finally(() => console.log("Finished"));

resolve("This poem is short.");
