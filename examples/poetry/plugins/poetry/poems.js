// Three poems that belong to everybody.
import dickinson from "./dickinson.txt";
import goethe from "./goethe.txt";
import verlaine from "./verlaine.txt";

/** @type {Record<string, string>} */
export const poems = { dickinson, goethe, verlaine };

/** @type {(name: string) => string} */
export function poem(name) {
  const text = Object.hasOwn(poems, name) ? poems[name] : undefined;
  if (text === undefined) throw new Error(`there is no poem ${name}: there are ${Object.keys(poems).join(", ")}`);
  return text;
}
