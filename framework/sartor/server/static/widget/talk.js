/* The conversation: begun, taken up again, gone on with, stopped. */

class Talk {
  #ready = null;
  #last = null; // the turn that is shown last

  /** `screen` shows what happens: log, t(), title(), busy(), banner(), line(), dress(), scroll(), announce(), emit(),
   * focus(), passage(). */
  constructor(api, screen, language) {
    this.api = api;
    this.screen = screen;
    this.language = language;
    this.bot = null;
    this.live = null; // the turn that runs
    this.conversation = "";
    this.waiting = new Waiting(this, (turn) => this.#heard(turn));
  }

  get longest() { return this.bot?.question_characters || 4000; }

  /** Have the session and what was said before; true when all is there. */
  start() {
    return (this.#ready ??= this.#begin());
  }

  async #begin() {
    const { log, t } = this.screen;
    log.setAttribute("aria-busy", "true");
    try {
      if (!this.bot) {
        const { bot, user_kind: kind } = await this.api.open();
        this.bot = bot;
        this.screen.dress();
        this.screen.emit("ready", { bot: bot.id, kind });
      }
      if (!(await this.#recall())) this.#welcome();
      return true;
    } catch (fault) {
      this.#ready = null;
      const again = () => (told.remove(), this.start());
      const told = notice(this.explain(fault, true), [403, 404].includes(fault.status) ? "" : t("again"), again);
      log.replaceChildren(told);
      this.#broken(fault);
      return false;
    } finally {
      log.removeAttribute("aria-busy");
    }
  }

  #welcome() {
    const { log, t, title } = this.screen;
    const { greeting, suggestions = [] } = this.bot;
    const chip = (text) => h("button", { type: "button", class: "quiet", dir: "auto", onclick: () => this.#pick(text) }, text);
    if (greeting) log.append(h("div", { class: "bubble greeting" }, spoken(`${title()}: `), h("div", { dir: "auto" }, greeting)));
    if (suggestions.length) log.append(h("div", { class: "suggestions", role: "group", "aria-label": t("suggestions") }, suggestions.map(chip)));
  }

  /** Show the conversation of before, and go on with a turn that still runs; false when there is none. */
  async #recall() {
    const { conversation, turn, asked } = this.api.memory.values;
    if (!conversation) return false;
    const missing = (fault) => {
      if (![403, 404].includes(fault.status)) throw fault;
    };
    const found = await this.api.turns(conversation).catch(missing); // a first turn that runs is not in it yet
    const turns = found?.turns || [];
    const pending = turn && !turns.some((known) => known.id === turn) && (await this.api.json("GET", `turns/${turn}`).catch(missing));
    if (pending) turns.push({ ...pending, question: pending.question || asked });
    this.api.memory.keep({ conversation: turns.length ? conversation : undefined, turn: pending ? turn : undefined });
    if (!turns.length) return false;
    this.conversation = conversation;
    for (const known of turns) {
      const view = this.#show(known.question, known.author);
      this.waiting.shown.add(known.id);
      if (["in_progress", "waiting"].includes(known.status)) this.#run(view, { turn: known.id, text: known.question });
      else view.finish(known);
    }
    if (!pending) this.#last.offer(turns.at(-1));
    this.screen.scroll(true);
    if (found?.person) this.waiting.begin(conversation, turns.findLast((known) => known.author)?.author);
    return true;
  }

  /** Leave the conversation; with `session`, whoever speaks next is somebody else. */
  forget(session) {
    this.live?.stop.abort();
    this.live = null;
    this.waiting.end();
    this.#ready = null;
    this.conversation = "";
    if (session) this.bot = null;
    this.screen.log.replaceChildren();
    this.screen.busy(false);
    this.screen.line();
  }

  /** Begin a new conversation, or go back to an `earlier` one. */
  async restart(earlier) {
    this.stop();
    const left = this.conversation;
    this.forget();
    this.api.memory.keep({ conversation: earlier, turn: undefined, asked: undefined });
    if (!(await this.start()) || earlier || !left) return;
    const { log, t, focus } = this.screen;
    log.prepend(notice(t("restarted"), t("goBack"), () => (this.restart(left), focus()), "restart"));
  }

  /** Say what a button says. */
  #pick(text) {
    this.send(text);
    this.screen.focus();
  }

  async send(text) {
    const said = text.trim();
    if (!said || this.live || [...said].length > this.longest || !(await this.start()) || this.live) return;
    const language = nearest(this.language, this.bot.languages || []);
    const key = crypto.randomUUID?.() || `${Date.now()}-${Math.random()}`; // no randomUUID on a page without TLS
    this.screen.log.querySelector(".suggestions")?.remove();
    this.#last?.said();
    const view = this.#show(said);
    this.screen.scroll(true);
    this.screen.emit("message", { text: said });
    await this.#run(view, { text: said, language, conversation: this.conversation || undefined, key });
  }

  #show(question, author) {
    const { screen, api, bot } = this;
    const view = new TurnView({ ...screen, title: author || screen.title(), author, api, links: bot.links || [], explain: (fault) => this.explain(fault), pick: (text) => this.#pick(text) }, question);
    screen.log.append(view.node);
    return (this.#last = view);
  }

  async #run(view, job) {
    const { screen } = this;
    const live = (this.live = { view, job, stop: new AbortController(), stopping: false });
    screen.busy(true);
    if (!this.waiting.stop) screen.announce(screen.t("writing", { title: screen.title() }));
    try {
      for await (const event of this.api.follow(job, live.stop.signal, (state) => this.#told(state))) {
        if (event.name === "turn") {
          this.conversation = event.data.conversation;
          this.waiting.shown.add(event.data.turn);
          this.api.memory.keep({ ...event.data, asked: job.text });
        }
        view.take(event);
        if (event.name === "finished") this.#finished(view, event.data);
      }
    } catch (fault) {
      if (live.stop.signal.aborted) return;
      if (live.stopping) this.#stopped(live);
      else this.#failed(view, job, fault);
    } finally {
      if (this.live === live) {
        this.live = null;
        clearInterval(this.counting);
        screen.busy(false);
        screen.line();
      }
    }
  }

  #finished(view, turn) {
    this.api.memory.keep({ turn: undefined, asked: undefined });
    view.offer(turn);
    if (["handed_over", "silent"].includes(turn.outcome)) this.waiting.begin(turn.conversation);
    if (!turn.text) return;
    this.screen.announce(`${turn.author || this.screen.title()}: ${view.words()}`);
    this.screen.emit("reply", { turn });
  }

  /** What a person said meanwhile, or the bot when it was given the conversation back. */
  #heard(turn) {
    const view = this.#show(turn.question, turn.author);
    view.finish(turn);
    this.#finished(view, turn);
    this.screen.scroll();
  }

  #failed(view, job, fault) {
    this.#broken(fault);
    const again = () => {
      const lost = fault.status === 0;
      view.wait(!lost);
      this.screen.focus();
      if (fault.status === 404 && !job.turn) this.conversation = ""; // it is not this visitor's any more
      const anew = { turn: undefined, last: undefined, key: `${job.key}+`, conversation: this.conversation || undefined };
      this.#run(view, lost ? job : { ...job, ...anew });
    };
    view.fail(this.explain(fault), fault.status === 403 ? null : again);
  }

  /** Tell the page, and whoever looks at its console. */
  #broken(fault) {
    console.warn(`sartor-chat: ${fault.message}`);
    this.screen.emit("error", { status: fault.status ?? 0, code: fault.code, message: fault.message });
  }

  /** What the stream tells of itself: lost, back, or a fault that is being waited for. */
  #told(state) {
    const { banner, line, t } = this.screen;
    clearInterval(this.counting);
    if (state === "back") return line();
    if (state === "lost") return navigator.onLine && banner(t("reconnecting"));
    const until = Date.now() + state.wait * 1000;
    const show = (first) => {
      const seconds = Math.ceil((until - Date.now()) / 1000);
      if (seconds > 0) return banner(t("busy", { seconds }), first !== true);
      clearInterval(this.counting);
      line();
    };
    this.counting = setInterval(show, 1000);
    show(true);
  }

  async stop() {
    const { live } = this;
    if (!live || live.stopping) return;
    live.stopping = true;
    if (!live.job.turn) return this.#stopped(live);
    await Promise.race([this.api.json("POST", `turns/${live.job.turn}/cancel`).catch(() => {}), pause(3)]);
    setTimeout(() => this.#stopped(live), 1500); // the stream tells how the turn ended; if not, it is over all the same
  }

  #stopped(live) {
    if (live.view.done || live.stop.signal.aborted) return;
    live.stop.abort();
    this.api.memory.keep({ turn: undefined, asked: undefined });
    live.view.finish({ id: live.job.turn || "", text: live.view.text, outcome: "cancelled" });
  }

  explain({ status }, opening = false) {
    const { t } = this.screen;
    if (status === 0) return t(navigator.onLine ? "unreachable" : "offline");
    if (status === 401) return t("signIn");
    if (status === 403 || (opening && status === 404)) return t("unavailable");
    return t("failed");
  }
}
