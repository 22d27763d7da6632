/* The service: a session for whoever is in front of the page, requests that carry it, and streams that survive. */

/** What went wrong: the HTTP status (0: no connection), and for how many seconds to wait. */
class Fault extends Error {
  constructor(status, message, wait = 0, code = "") {
    super(message);
    this.status = status;
    this.wait = wait;
    this.code = code;
  }
}

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });

/** What is remembered in this browser for one bot; where storage is forbidden, for this page only. */
class Memory {
  constructor(key) {
    this.key = key;
    this.values = kept("localStorage", key) || {};
  }

  keep(changes) {
    this.values = { ...(kept("localStorage", this.key) || this.values), ...changes }; // other tabs write there as well
    keep("localStorage", this.key, this.values);
  }
}

/** What `storage` (localStorage, sessionStorage) has under `key`; touching it is an error where it is forbidden. */
function kept(storage, key) {
  try {
    return JSON.parse(globalThis[storage].getItem(key));
  } catch {
    return null;
  }
}

function keep(storage, key, value) {
  try {
    globalThis[storage].setItem(key, JSON.stringify(value));
  } catch {
    /* for this page only, then */
  }
}

class Api {
  /** `renew` is asked for a user's token when there is none, or the one there is no longer good. */
  constructor(server, bot, language, renew) {
    this.server = server;
    this.bot = bot;
    this.language = language.slice(0, 35);
    this.renew = renew;
    this.memory = new Memory(`sartor:${server}${bot}`);
    this.token = "";
    this.session = "";
  }

  /** Open a session: of the signed user where there is a token, else of the visitor who was here before. */
  async open() {
    const ask = async (more) => (await this.fetch("POST", "sessions", { body: { bot: this.bot, language: this.language, ...more } })).json();
    const earlier = this.memory.values.session;
    let made;
    try {
      made = await ask(this.token ? { token: this.token } : earlier ? { session: earlier } : {});
    } catch (fault) {
      if (fault.status !== 401) throw fault;
      const fresh = await this.renew();
      if (!fresh) throw fault;
      this.token = fresh;
      made = await ask({ token: fresh });
    }
    this.session = made.token;
    // A signed user's session is not left behind in the browser: the page gives the token anew.
    this.memory.keep({ session: made.user_kind === "visitor" ? made.token : undefined });
    return made;
  }

  /** One request with the session; a session that has run out is replaced once. */
  async send(method, path, options = {}) {
    try {
      return await this.fetch(method, path, options);
    } catch (fault) {
      if (fault.status !== 401) throw fault;
      await this.open();
      return this.fetch(method, path, options);
    }
  }

  async json(method, path, body) {
    const response = await this.send(method, path, { body });
    return response.status === 204 ? null : response.json();
  }

  async fetch(method, path, { body, headers, signal } = {}) {
    const sent = { ...headers };
    if (this.session && path !== "sessions") sent.Authorization = `Bearer ${this.session}`;
    if (body) sent["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(`${this.server}v1/${path}`, {
        method, headers: sent, body: body && JSON.stringify(body), signal, credentials: "omit", cache: "no-store",
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Fault(0, String(error));
    }
    if (response.ok) return response;
    const told = await response.json().catch(() => null);
    const { message = response.statusText, code } = told?.error || {};
    throw new Fault(response.status, message, Number(response.headers.get("Retry-After")) || 0, code);
  }

  /** The turns of a conversation from behind `last` on, oldest first; a new `last`; whether a `person` has it. */
  async turns(conversation, last = "") {
    const turns = [];
    for (let page = 0; ; page += 1) {
      const list = await this.json("GET", `conversations/${conversation}/turns?limit=100${last && `&after=${encodeURIComponent(last)}`}`);
      turns.push(...list.data);
      last = list.last;
      if (!list.has_more || page === 9) return { turns, last, person: list.with_person };
    }
  }

  /** The events of a turn to its end, however often the connection drops. `job`: text, conversation, language of a new
   * turn, or the id in `turn` of one that runs; `told(state)` is called with "lost", "back" or a Fault that is waited for. */
  async *follow(job, signal, told) {
    for (let tries = 0; ; ) {
      try {
        for await (const event of events(await this.listen(job, signal), signal)) {
          if (event.id && Number(event.id) <= Number(job.last)) continue;
          if (tries) told("back");
          tries = 0;
          job.last = event.id || job.last;
          if (event.name === "turn") job.turn = event.data.turn;
          if (event.name === "error") throw refused(event.data.error, job);
          yield event;
          if (event.name === "finished") return;
        }
      } catch (fault) {
        if (signal.aborted || !(fault instanceof Fault)) throw fault;
        const busy = fault.wait || [429, 503].includes(fault.status);
        if ((fault.status && !busy) || tries >= Api.tries) throw fault;
        if (busy) {
          tries += 1;
          fault.wait ||= 2 ** tries;
          told(fault);
          await pause(fault.wait, signal);
          continue;
        }
      }
      if (tries >= Api.tries) throw new Fault(0, "the stream ended early");
      if (!tries) told("lost");
      await (navigator.onLine ? pause(Math.min(0.4 * 2 ** tries, 8), signal) : online(signal));
      tries += 1;
    }
  }

  listen(job, signal) {
    const accept = { Accept: "text/event-stream" };
    if (job.turn) {
      const headers = job.last ? { ...accept, "Last-Event-ID": job.last } : accept;
      return this.send("GET", `turns/${job.turn}/events`, { headers, signal });
    }
    const { text, language, conversation } = job;
    const body = { bot: this.bot, text, language, conversation, stream: true, keep: 30 };
    return this.send("POST", "turns", { body, headers: { ...accept, "Idempotency-Key": job.key }, signal });
  }
}
Api.tries = 6;

/** A turn that ended in an error left nothing behind, so `job` can begin anew. */
function refused(error, job) {
  const busy = ["overloaded", "unavailable"].includes(error?.code);
  Object.assign(job, { turn: undefined, last: undefined, key: `${job.key}+` });
  return new Fault(busy ? 503 : 500, error?.message || "", 0, error?.code);
}

const online = (signal) =>
  new Promise((resolve, reject) => {
    addEventListener("online", resolve, { once: true, signal });
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });

const SILENCE = 45; // seconds; the service says something every 15

/** The server-sent events of a response: {id, name, data}. */
async function* events(response, signal) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let event = { data: "" };
  try {
    for (;;) {
      const { value, done } = await heard(reader, signal);
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (!line) {
          if (event.data) yield { ...event, data: JSON.parse(event.data) };
          event = { data: "" };
        }
        const [, field, content] = /^([^:]*):? ?(.*)$/s.exec(line);
        if (field === "data") event.data += (event.data && "\n") + content;
        if (field === "id") event.id = content;
        if (field === "event") event.name = content;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The next piece; a connection that broke, or has been silent for too long, is a Fault. */
async function heard(reader, signal) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Fault(0, "silent")), SILENCE * 1000);
  });
  try {
    return await Promise.race([reader.read(), silence]);
  } catch (error) {
    if (signal.aborted || error instanceof Fault) throw error;
    throw new Fault(0, String(error));
  } finally {
    clearTimeout(timer);
  }
}
