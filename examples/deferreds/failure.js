// A promise that is broken.
const { promise, reject } = Promise.withResolvers();

promise
  .then((poem) => {
    console.log("Your poem is served:");
    console.log(poem);
  })
  .catch(() => console.log("No poetry for you."))
  .finally(() => console.log("Finished"));

reject(new Error("I have failed."));
