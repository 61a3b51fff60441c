/**
 * Sends a poem so many bytes at a time, so many seconds apart, and hangs up.
 * Others get theirs meanwhile. It returns the handlers of an amp.protocol.
 *
 * @type {(transport: import("amphost").Transport, poem: string, numBytes: number, delay: number) => import("amphost").Protocol}
 */
export function recite(transport, poem, numBytes, delay) {
  const bytes = Buffer.from(poem);
  const who = transport.remoteAddress;
  let gone = false;

  async function send() {
    for (let at = 0; at < bytes.length; at += numBytes) {
      if (at > 0) await new Promise((resolve) => setTimeout(resolve, delay * 1000));
      if (gone) return;
      const chunk = bytes.subarray(at, at + numBytes);
      console.log(`Sending ${chunk.length} bytes to ${who}`);
      await transport.write(chunk);
    }
    transport.loseConnection();
  }

  console.log(`${who} wants poetry!`);
  send().catch((e) => console.warn(`${who} does not get its poem: ${e.message}`));
  return {
    connectionLost() {
      gone = true;
    },
  };
}
