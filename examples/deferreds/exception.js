// A promise that is broken, with what was wrong.
class PoemLost extends Error {}

const { promise, reject } = Promise.withResolvers();

promise
  .then((poem) => {
    console.log("Your poem is served:");
    console.log(poem);
  })
  .catch((e) => {
    console.log(e.constructor.name);
    console.log(e.message);
    console.log("No poetry for you.");
  });

reject(new PoemLost("I have failed."));
