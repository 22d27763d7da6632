/* <sartor-chat>: the widget as an element of the page. */

const SCRIPT = document.currentScript || document.querySelector('script[src*="widget.js"]');
const HERE = SCRIPT ? new URL(".", SCRIPT.src).href : `${location.origin}/`;
const SMALL = matchMedia("(max-width: 480px)");
const DARK = matchMedia("(prefers-color-scheme: dark)");
const SHEET = new CSSStyleSheet();
SHEET.replaceSync(STYLE);

class SartorChat extends HTMLElement {
  static texts = TEXTS;
  static observedAttributes = ["data-token", "data-open", "data-title", "data-theme"];

  #api; #parts; #views = []; #links = []; #name = ""; #languages = []; #greeting = "";
  #ready = null; #live = null; #conversation = ""; #opened = false; #resume = null; #off = null; #longest = 4000;

  /** An async function that gives a fresh token when the user's has run out. */
  refreshToken = null;

  get isOpen() { return this.#opened; }
  get conversation() { return this.#conversation; }
  get token() { return this.dataset.token || this.#api?.token || ""; }

  /** The signed token of the person in front of the page; another one begins another session. */
  set token(value) {
    if (!this.#api) return void (this.dataset.token = value || "");
    if (value === this.#api.token) return;
    this.#api.token = value || "";
    this.#api.session = "";
    if (!this.#ready) return;
    this.#forget();
    if (this.#opened) this.#start();
  }

  get #filling() { return ["inline", "page"].includes(this.dataset.position); }
  get #sessionKey() { return `sartor-open:${this.dataset.bot}`; }

  connectedCallback() {
    if (this.#parts) return this.#listen();
    const { bot, server, language, token } = this.dataset;
    if (!bot) return console.error('sartor-chat: name the bot, as in data-bot="acme/support"');
    const tag = language || document.documentElement.lang || navigator.language || "en";
    this.texts = TEXTS[nearest(tag, Object.keys(TEXTS)) || "en"];
    this.language = tag;
    this.#api = new Api(new URL(server ? server.replace(/\/*$/, "/") : HERE, location.href).href, bot, tag, () => this.#renewed());
    this.#api.token = token || "";
    this.#build(tag);
    this.#listen();
    const again = !SMALL.matches && remembered(this.#sessionKey);
    if (this.#filling || this.hasAttribute("data-open") || again) this.open({ focus: false });
  }

  disconnectedCallback() {
    this.#off?.abort();
    this.#live?.stop.abort();
  }

  attributeChangedCallback(name, before, now) {
    if (!this.#parts || before === now) return;
    if (name === "data-token") this.token = now;
    if (name === "data-open") now === null ? this.close() : this.open();
    this.#dress();
  }

  #build(tag) {
    const key = (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    };
    this.#parts = frame((...asked) => this.t(...asked), {
      key, keys: (event) => this.#keys(event), input: () => this.#counted(), scroll: () => this.#scrolled(),
      toggle: () => (this.#opened ? this.close() : this.open()), close: () => this.close(), restart: () => this.restart(),
      latest: () => this.scroll(true), stop: () => this.#stop(), submit: (event) => (event.preventDefault(), this.#submit()),
    });
    const { root } = this.#parts;
    const turned = tag !== "en" && RIGHT_TO_LEFT.test(tag) ? "rtl" : getComputedStyle(document.documentElement).direction;
    root.dir = this.dataset.dir || (this.dataset.language ? (RIGHT_TO_LEFT.test(tag) ? "rtl" : "ltr") : turned);
    root.lang = Object.keys(TEXTS).find((known) => TEXTS[known] === this.texts);
    const shadow = this.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [SHEET];
    shadow.append(root);
    this.#busy(false);
    this.#dress();
  }

  /** What can change from outside: title, colours, the size of the window. */
  #dress() {
    const { root, title, avatar, panel, launcher, note } = this.#parts;
    const { theme, note: told } = this.dataset;
    root.dataset.scheme = ["light", "dark"].includes(theme) ? theme : DARK.matches ? "dark" : "light";
    root.classList.toggle("open", this.#opened);
    root.classList.toggle("filling", this.#filling);
    title.textContent = this.title_;
    avatar.textContent = this.title_.slice(0, 1).toUpperCase();
    note.textContent = told ?? this.t("note");
    const whole = SMALL.matches && !this.#filling;
    panel.setAttribute("aria-modal", whole);
    if (this.#filling) panel.setAttribute("role", "region");
    launcher.setAttribute("aria-expanded", this.#opened);
    launcher.setAttribute("aria-label", this.t(this.#opened ? "close" : launcher.classList.contains("new") ? "openNew" : "open"));
    const view = globalThis.visualViewport;
    panel.style.setProperty("--high", whole && view ? `${view.height}px` : "");
    panel.style.setProperty("--top", whole && view ? `${view.offsetTop}px` : "");
  }

  get title_() { return this.dataset.title || this.#name || this.t("chat"); }

  #listen() {
    this.#off?.abort();
    this.#off = new AbortController();
    const { signal } = this.#off;
    for (const query of [SMALL, DARK]) query.addEventListener("change", () => this.#dress(), { signal });
    globalThis.visualViewport?.addEventListener("resize", () => (this.#dress(), this.scroll()), { signal });
    for (const name of ["online", "offline"]) addEventListener(name, () => this.#line(), { signal });
    this.#line();
  }

  #line() {
    this.#banner(navigator.onLine ? "" : this.t("offline"));
  }

  #banner(text) {
    if (this.#parts.banner.textContent !== text) this.#parts.banner.textContent = text;
  }

  /** A text of the widget in its language. */
  t(key, values = {}) {
    return (this.texts[key] ?? TEXTS.en[key]).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  }

  emit(name, detail = {}) {
    this.dispatchEvent(new CustomEvent(`sartor:${name}`, { detail, bubbles: true, composed: true }));
  }

  // Open, close, restart, send: for the page as well

  open({ focus = true } = {}) {
    const before = this.#opened;
    this.#opened = true;
    this.#parts.launcher.classList.remove("new");
    this.#dress();
    if (!before) {
      remember(this.#sessionKey, true);
      this.emit("open");
    }
    this.#start();
    if (focus) this.focus();
  }

  close() {
    if (!this.#opened || this.#filling) return;
    this.#opened = false;
    remember(this.#sessionKey, false);
    this.#dress();
    this.#parts.launcher.focus();
    this.emit("close");
  }

  /** Begin a new conversation; the earlier one can be gone back to. */
  restart() {
    const earlier = this.#conversation;
    this.#stop();
    this.#forget();
    this.#api.memory.keep({ conversation: undefined, turn: undefined, asked: undefined });
    this.#start();
    if (earlier) {
      const back = () => {
        this.#stop();
        this.#forget();
        this.#api.memory.keep({ conversation: earlier });
        this.#start();
        this.focus();
      };
      this.#parts.log.prepend(notice(this.t("restarted"), this.t("goBack"), back));
    }
    this.focus();
    this.emit("restart");
  }

  /** Send a message as if the person had written it. */
  async send(text) {
    const said = text.trim();
    if (!said || this.#live || [...said].length > this.#longest) return;
    this.open({ focus: false });
    if (!(await this.#start()) || this.#live) return;
    const language = nearest(this.language, this.#languages);
    const job = { text: said, language, conversation: this.#conversation || undefined, key: crypto.randomUUID?.() || `${Date.now()}-${Math.random()}` };
    const view = this.#show(said);
    this.#parts.log.querySelector(".suggestions")?.remove();
    this.scroll(true);
    this.emit("message", { text: said });
    await this.#run(view, job);
  }

  focus() {
    const { panel, field } = this.#parts;
    (matchMedia("(pointer: coarse)").matches ? panel : field).focus({ preventScroll: true });
  }

  // The session and what was said before

  #start() {
    return (this.#ready ??= this.#begin());
  }

  async #begin() {
    const { log } = this.#parts;
    const api = this.#api;
    log.setAttribute("aria-busy", "true");
    try {
      const { bot, user_kind: kind } = await api.open();
      this.#name = bot.title || "";
      this.#links = bot.links || [];
      this.#languages = bot.languages || [];
      this.#longest = bot.question_characters || this.#longest;
      this.#dress();
      await this.#recall();
      if (!this.#views.length) this.#welcome(bot);
      this.emit("ready", { bot: bot.id, kind });
      return true;
    } catch (fault) {
      this.#ready = null;
      const again = () => (told.remove(), this.#start());
      const told = notice(this.explain(fault, true), fault.status !== 403 && fault.status !== 404 && this.t("again"), again);
      log.replaceChildren(told);
      console.warn(`sartor-chat: ${fault.message}`);
      this.emit("error", { status: fault.status ?? 0, message: fault.message });
      return false;
    } finally {
      log.removeAttribute("aria-busy");
    }
  }

  #welcome(bot) {
    const pick = (text) => (text && typeof text === "object" ? text[nearest(this.language, Object.keys(text)) || Object.keys(text)[0]] : text);
    const greeting = pick(bot.greeting);
    const chip = (text) => h("button", { type: "button", class: "quiet", dir: "auto", onclick: () => (this.send(text), this.focus()) }, text);
    const chips = (bot.suggestions || []).map(pick).filter(Boolean);
    this.#parts.log.append(...[
      greeting && h("div", { class: "bubble greeting" }, spoken(`${this.title_}: `), h("div", { dir: "auto" }, greeting)),
      chips.length && h("div", { class: "suggestions", role: "group", "aria-label": this.t("suggestions") }, chips.map(chip)),
    ].filter(Boolean));
  }

  /** Show the conversation of before, and go on with a turn that still runs. */
  async #recall() {
    const { conversation, turn, asked } = this.#api.memory.values;
    this.#conversation = conversation || "";
    if (!conversation) return;
    const missing = (fault) => { if (![403, 404].includes(fault.status)) throw fault; };
    const turns = (await this.#api.turns(conversation).catch(missing)) || []; // a first turn that runs is not in it yet
    const pending = turn && !turns.some((known) => known.id === turn) && (await this.#api.json("GET", `turns/${turn}`).catch(missing));
    if (pending) turns.push({ ...pending, question: pending.question || asked });
    if (!turns.length) return this.#settle({ conversation: undefined, turn: undefined, asked: undefined }, "");
    for (const known of turns) {
      const view = this.#show(known.question);
      if (running(known)) this.#run(view, { turn: known.id, text: known.question });
      else view.finish(known);
    }
    this.scroll(true);
  }

  #settle(kept, conversation = this.#conversation) {
    this.#api.memory.keep(kept);
    this.#conversation = conversation;
  }

  #forget() {
    this.#live?.stop.abort();
    this.#live = null;
    this.#views = [];
    this.#ready = null;
    this.#conversation = "";
    this.#closeSheet();
    this.#parts.log.replaceChildren();
    this.#busy(false);
    this.#line();
  }

  async #renewed() {
    if (this.refreshToken) return this.refreshToken();
    this.emit("token");
    return "";
  }

  // A turn

  #show(question) {
    const view = new TurnView({
      t: (...asked) => this.t(...asked), api: this.#api, links: this.#links, title: this.title_, scroll: () => this.scroll(), announce: (text) => this.announce(text),
      passage: (...asked) => this.#passage(...asked), emit: (...told) => this.emit(...told), explain: (fault) => this.explain(fault), focus: () => this.focus(),
    }, question);
    this.#views.push(view);
    this.#parts.log.append(view.node);
    return view;
  }

  async #run(view, job) {
    const live = (this.#live = { view, job, stop: new AbortController() });
    this.#busy(true);
    this.announce(this.t("writing", { title: this.title_ }));
    try {
      for await (const event of this.#api.follow(job, live.stop.signal, (state) => this.#told(view, state))) {
        const { conversation, turn } = event.data;
        if (event.name === "turn") this.#settle({ conversation, turn, asked: job.text }, conversation);
        view.take(event);
        if (event.name === "finished") this.#finished(view, event.data);
      }
    } catch (fault) {
      if (live.stop.signal.aborted) return;
      if (live.stopping) this.#stopped(live);
      else this.#failed(view, job, fault);
    } finally {
      if (this.#live === live) {
        this.#live = null;
        this.#busy(false);
        this.#line();
      }
    }
  }

  #finished(view, turn) {
    this.#api.memory.keep({ turn: undefined, asked: undefined });
    this.announce(`${this.title_}: ${view.body.innerText || view.text}`);
    if (!this.#opened) {
      this.#parts.launcher.classList.add("new");
      this.#dress();
    }
    this.emit("reply", { turn });
  }

  #failed(view, job, fault) {
    console.warn(`sartor-chat: ${fault.message}`);
    this.emit("error", { status: fault.status ?? 0, message: fault.message });
    const again = () => {
      const lost = fault.status === 0;
      view.wait(!lost);
      this.focus();
      this.#run(view, lost ? job : { ...job, turn: undefined, last: undefined, key: `${job.key}+`, conversation: this.#conversation || undefined });
    };
    view.fail(this.explain(fault), fault.status === 403 ? null : again);
  }

  /** What the stream tells of itself: lost, back, or a fault that is being waited for. */
  #told(view, state) {
    clearInterval(this.counting);
    if (state === "back") return this.#line();
    if (state === "lost") return navigator.onLine && this.#banner(this.t("reconnecting"));
    const until = Date.now() + state.wait * 1000;
    const show = () => {
      const left = Math.max(0, Math.ceil((until - Date.now()) / 1000));
      if (!left || !this.#live) return clearInterval(this.counting), this.#line();
      this.#banner(this.t("busy", { seconds: left }));
    };
    show();
    this.counting = setInterval(show, 1000);
  }

  async #stop() {
    const live = this.#live;
    if (!live || live.stopping) return;
    live.stopping = true;
    if (!live.job.turn) return this.#stopped(live);
    await Promise.race([this.#api.json("POST", `turns/${live.job.turn}/cancel`).catch(() => {}), pause(3)]);
    setTimeout(() => this.#stopped(live), 1500); // the stream tells how the turn ended; if not, it is over all the same
  }

  #stopped(live) {
    if (live.view.done || live.stop.signal.aborted) return;
    live.stop.abort();
    this.#api.memory.keep({ turn: undefined, asked: undefined });
    live.view.finish({ id: live.job.turn || "", text: live.view.text, outcome: "cancelled" });
  }

  explain(fault, opening = false) {
    if (fault.status === 0) return this.t(navigator.onLine ? "unreachable" : "offline");
    if (fault.status === 401) return this.t("signIn");
    if (fault.status === 403 || (opening && fault.status === 404)) return this.t("unavailable");
    return this.t("failed");
  }

  // The passage

  async #passage(turn, citation, from) {
    const { panel, main } = this.#parts;
    this.#closeSheet();
    const layer = sheet((...asked) => this.t(...asked), citation, () => this.#closeSheet());
    const load = async () => {
      try {
        layer.show(await this.#api.json("GET", `turns/${turn}/passages/${citation.number}`));
      } catch (fault) {
        if (citation.quote && fault.status === 404) layer.show({ ...citation, text: citation.quote });
        else layer.fail(this.explain(fault), load);
      }
    };
    main.inert = true;
    panel.append(layer.node);
    this.#resume = () => {
      this.#resume = null;
      layer.node.remove();
      main.inert = false;
      from.focus();
    };
    layer.node.querySelector("button").focus();
    this.emit("passage", { turn, number: citation.number });
    await load();
  }

  #closeSheet() {
    this.#resume?.();
  }

  // Keys, the text field, scrolling

  #keys(event) {
    if (event.key === "Escape" && !event.isComposing) {
      if (this.#resume) this.#closeSheet();
      else if (this.#opened && !this.#filling) this.close();
      else return;
      event.stopPropagation();
    }
    if (event.key === "Tab" && SMALL.matches && this.#opened && !this.#filling) this.#hold(event);
  }

  /** Where the panel covers the whole page, the focus stays in it. */
  #hold(event) {
    const all = [...this.#parts.panel.querySelectorAll("button, textarea, a[href], [tabindex='0']")].filter(
      (node) => !node.disabled && !node.closest("[inert]") && node.getClientRects().length);
    const [first, last] = [all[0], all.at(-1)];
    const at = this.shadowRoot.activeElement;
    if (event.shiftKey ? at === first || at === this.#parts.panel : at === last) {
      event.preventDefault();
      (event.shiftKey ? last : first).focus();
    }
  }

  #submit() {
    const { field } = this.#parts;
    if (this.#live || !field.value.trim() || [...field.value.trim()].length > this.#longest) return;
    this.send(field.value);
    field.value = "";
    this.#counted();
    field.focus();
  }

  #counted() {
    const { field, count, send } = this.#parts;
    fit(field);
    const left = this.#longest - [...field.value.trim()].length;
    count.textContent = left < 0 ? this.t("tooLong", { count: -left }) : left < this.#longest / 10 ? this.t("left", { count: left }) : "";
    field.setAttribute("aria-invalid", left < 0);
    send.disabled = left < 0 || !field.value.trim();
  }

  #busy(yes) {
    const { send, stop, root, field } = this.#parts;
    const focused = this.shadowRoot?.activeElement;
    send.hidden = yes;
    stop.hidden = !yes;
    root.classList.toggle("busy", yes);
    if (focused === stop || focused === send) field.focus();
    this.#counted();
  }

  #scrolled() {
    const { log, latest } = this.#parts;
    this.away = log.scrollHeight - log.scrollTop - log.clientHeight > 60;
    latest.classList.toggle("shown", this.away);
  }

  /** To the end, unless the person has scrolled away from it. */
  scroll(always = false) {
    const { log } = this.#parts;
    if (always !== true && this.away) return;
    this.away = false;
    log.scrollTo({ top: log.scrollHeight, behavior: always === true && !still() ? "smooth" : "instant" });
  }

  /** Have a screen reader say something. */
  announce(text) {
    const { speaker } = this.#parts;
    speaker.textContent = speaker.textContent === text ? `${text}\u00a0` : text;
  }
}

const running = (turn) => ["in_progress", "waiting", "queued"].includes(turn.status);

function remember(key, value) {
  try {
    value ? sessionStorage.setItem(key, "1") : sessionStorage.removeItem(key);
  } catch {
    /* the panel is closed on the next page, then */
  }
}

function remembered(key) {
  try {
    return sessionStorage.getItem(key) === "1";
  } catch {
    return false;
  }
}

if (!customElements.get("sartor-chat")) customElements.define("sartor-chat", SartorChat);

if (SCRIPT?.dataset.bot) {
  const place = () => {
    const chat = document.createElement("sartor-chat");
    Object.assign(chat.dataset, { server: HERE, ...SCRIPT.dataset });
    document.body.append(chat);
  };
  if (document.body && document.readyState !== "loading") place();
  else addEventListener("DOMContentLoaded", place, { once: true });
}
