// A work queue. A job that was submitted is there until it is done: it is taken
// for a while, the lease, and whoever does not say in time that it is done has
// lost it to the next one. Nobody else gets it meanwhile.
import * as amp from "amphost";

class Empty extends Error {}
class NotHeld extends Error {}

const Submit = new amp.Command("Submit", {
  arguments: { payload: amp.String() },
  response: { id: amp.Integer() },
});
const Take = new amp.Command("Take", {
  arguments: { lease: amp.Float() }, // in seconds
  response: { id: amp.Integer(), attempt: amp.Integer(), payload: amp.String() },
  errors: { EMPTY: Empty },
});
const Done = new amp.Command("Done", {
  arguments: { id: amp.Integer(), attempt: amp.Integer() },
  errors: { NOT_HELD: NotHeld },
});
const Retry = new amp.Command("Retry", {
  arguments: { id: amp.Integer(), attempt: amp.Integer(), delay: amp.Float({ optional: true }) },
  errors: { NOT_HELD: NotHeld },
});

interface Job {
  payload: Buffer;
  due: number; // when it may be taken, in milliseconds
  attempt: number; // how often it was taken
  held: boolean; // since then nobody has given it back
}

// job/ID is the job; due/TIME/ID has them in the order in which they may be taken.
const digits = (n: number) => String(n).padStart(16, "0");
const jobKey = (id: number) => `job/${digits(id)}`;
const dueKey = (id: number, job: Job) => `due/${digits(job.due)}/${digits(id)}`;

function put(tx: amp.Tx, id: number, job: Job) {
  tx.put(jobKey(id), job);
  tx.put(dueKey(id, job), id);
}

/** The job, out of its place in the order, if this attempt holds it. */
function release(tx: amp.Tx, id: number, attempt: number): Job {
  const job = tx.get<Job>(jobKey(id));
  if (!job?.held || job.attempt !== attempt) throw new NotHeld(`attempt ${attempt} does not hold job ${id}`);
  tx.delete(dueKey(id, job));
  return job;
}

const milliseconds = (seconds: number) => Math.max(0, Math.round(seconds * 1000));

Submit.responder(({ payload }) => {
  const now = Date.now();
  return amp.store.update((tx) => {
    const id = tx.counter("jobs").next();
    put(tx, id, { payload, due: now, attempt: 0, held: false });
    return { id };
  });
});

Take.responder(({ lease }) => {
  const now = Date.now();
  return amp.store.update((tx) => {
    for (const [key, id] of tx.scan<number>({ prefix: "due/", end: `due/${digits(now + 1)}`, limit: 1 })) {
      const job = tx.get<Job>(jobKey(id))!;
      tx.delete(key);
      put(tx, id, { ...job, due: now + milliseconds(lease), attempt: job.attempt + 1, held: true });
      return { id, attempt: job.attempt + 1, payload: job.payload };
    }
    throw new Empty("no job is waiting");
  });
});

Done.responder(async ({ id, attempt }) => {
  await amp.store.update((tx) => {
    release(tx, id, attempt);
    tx.delete(jobKey(id));
  });
});

Retry.responder(async ({ id, attempt, delay = 0 }) => {
  const now = Date.now();
  await amp.store.update((tx) => {
    const job = release(tx, id, attempt);
    put(tx, id, { ...job, due: now + milliseconds(delay), held: false });
  });
});
