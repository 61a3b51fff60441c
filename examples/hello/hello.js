// A callback, once the loop runs. Nothing is left to do then: the program ends.
setImmediate(() => {
  console.log("Hello from the loop!");
  console.log("Nothing else goes on while these lines are printed,");
  console.log("and afterwards there is nothing to wait for.");
});
