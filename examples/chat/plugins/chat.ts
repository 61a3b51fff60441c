// Rooms: what one member says, every other one hears, once and in order.
//
// Who is in which room is in the state of the connections. It goes to the next
// version with them, so that a reload in the middle of a conversation loses and
// repeats nothing.
import * as amp from "amphost";

class NameTaken extends Error {}
class NotAMember extends Error {}

const Join = new amp.Command("Join", {
  arguments: { room: amp.Unicode(), name: amp.Unicode() },
  response: { others: amp.ListOf(amp.Unicode()) },
  errors: { NAME_TAKEN: NameTaken },
});
const Leave = new amp.Command("Leave", { arguments: { room: amp.Unicode() } });
const Say = new amp.Command("Say", {
  arguments: { room: amp.Unicode(), text: amp.Unicode() },
  errors: { NOT_A_MEMBER: NotAMember },
});

// This one the members answer. Nobody waits for it.
const Heard = new amp.Command("Heard", {
  arguments: { room: amp.Unicode(), name: amp.Unicode(), text: amp.Unicode() },
  requiresAnswer: false,
});

const session = amp.peerState(() => ({ names: {} as Record<string, string> })); // by room

function others(room: string, me: amp.Peer): amp.Peer[] {
  return amp.peers().filter((peer) => peer !== me && Object.hasOwn(session(peer).names, room));
}

Join.responder(({ room, name }, peer) => {
  const there = others(room, peer).map((other) => session(other).names[room]);
  if (there.includes(name)) throw new NameTaken(`there is another ${name} in ${room}`);
  session(peer).names[room] = name;
  return { others: there };
});

Leave.responder(({ room }, peer) => {
  delete session(peer).names[room];
});

// Not async: all members have it in their queue before anything else is said.
Say.responder(({ room, text }, peer) => {
  const name = session(peer).names[room];
  if (name === undefined) throw new NotAMember(`join ${room} first`);
  for (const other of others(room, peer)) {
    // One that leaves meanwhile does not hear it.
    other.callRemote(Heard, { room, name, text }).catch(() => {});
  }
});
