import * as amp from "amphost";

/**
 * Gets the poem that a server sends, and tells of what comes. Bytes become text
 * at the end, for a read may end within a character.
 *
 * @type {(address: string, received?: (bytes: number) => void) => Promise<{ text: string, bytes: number }>}
 */
export function getPoem(address, received) {
  /** @type {Buffer[]} */
  const chunks = [];
  return new Promise((resolve, reject) => {
    const connecting = amp.dial(`tcp://${address}`, () => ({
      dataReceived(data) {
        chunks.push(data);
        received?.(data.length);
      },
      connectionLost(reason) {
        const all = Buffer.concat(chunks);
        if (reason.message !== "the peer closed the connection") reject(reason); // it broke: this is not all of it
        else if (all.length === 0) reject(new Error(`${address} sent no poem`));
        else resolve({ text: new TextDecoder("utf-8", { fatal: true }).decode(all), bytes: all.length });
      },
    }));
    connecting.catch(reject);
  });
}

/** Milliseconds as h:mm:ss.ss. @type {(ms: number) => string} */
export function elapsed(ms) {
  const minutes = Math.floor(ms / 60_000);
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${((ms % 60_000) / 1000).toFixed(2).padStart(5, "0")}`;
}
