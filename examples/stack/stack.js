// What has called a callback: the loop, so the stack is short.
function stack() {
  console.trace("The stack of a callback:");
}

setImmediate(() => stack());
