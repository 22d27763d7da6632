/* <sartor-chat>: the widget as an element of the page. */

const SCRIPT = document.currentScript || document.querySelector('script[src*="widget.js"]');
const HERE = SCRIPT ? new URL(".", SCRIPT.src).href : `${location.origin}/`;
const SMALL = matchMedia("(max-width: 480px)");
const DARK = matchMedia("(prefers-color-scheme: dark)");
const SHEET = new CSSStyleSheet();
SHEET.replaceSync(STYLE);

class SartorChat extends HTMLElement {
  static texts = TEXTS;
  static observedAttributes = ["data-token", "data-open", "data-title", "data-theme", "data-note"];

  #talk; #parts; #texts; #opened = false; #closeSheet = null; #off = null; #away = false; #top = 0; #human = false;

  /** An async function that gives a user's token when there is none, or the one there is no longer good. */
  refreshToken = null;

  get isOpen() { return this.#opened; }
  get conversation() { return this.#talk?.conversation || ""; }
  get token() { return this.#talk?.api.token || this.dataset.token || ""; }

  /** The signed token of the person in front of the page; another one begins another session. */
  set token(value) {
    const talk = this.#talk;
    if (!talk) return void (this.dataset.token = value || "");
    if ((value || "") === talk.api.token) return;
    Object.assign(talk.api, { token: value || "", session: "" });
    this.#closeSheet?.();
    talk.forget(true);
    if (this.#opened) talk.start();
  }

  get #filling() { return ["inline", "page"].includes(this.dataset.position); }
  get #key() { return `sartor-open:${this.dataset.bot}`; }
  get #title() { return this.dataset.title || this.#talk?.bot?.title || this.t("chat"); }

  connectedCallback() {
    if (this.#parts) return this.#listen();
    const { bot, server, language, token } = this.dataset;
    if (!bot) return console.error('sartor-chat: name the bot, as in data-bot="acme/support"');
    const tag = language || document.documentElement.lang || navigator.language || "en";
    const api = new Api(new URL(server ? server.replace(/\/*$/, "/") : HERE, location.href).href, bot, tag, () => this.#renew());
    api.token = token || "";
    this.#build(tag, api);
    this.#listen();
    const again = !SMALL.matches && kept("sessionStorage", this.#key);
    if (this.#filling || this.hasAttribute("data-open") || again) this.open({ focus: false });
  }

  disconnectedCallback() {
    this.#off?.abort();
  }

  attributeChangedCallback(name, before, now) {
    if (!this.#parts || before === now) return;
    if (name === "data-token") this.token = now;
    if (name === "data-open") now === null ? this.close() : this.open();
    this.#dress();
  }

  #build(tag, api) {
    const language = nearest(tag, Object.keys(TEXTS)) || "en";
    this.#texts = TEXTS[language];
    const t = (...asked) => this.t(...asked);
    this.#parts = frame(t, {
      key: (event) => this.#written(event), keys: (event) => this.#pressed(event), input: () => this.#counted(),
      scroll: () => this.#scrolled(), toggle: () => (this.#opened ? this.close() : this.open()), close: () => this.close(),
      restart: () => this.restart(), latest: () => this.scroll(true), stop: () => this.#talk.stop(),
      submit: (event) => (event.preventDefault(), this.#submit()),
    });
    const { root, log } = this.#parts;
    this.#talk = new Talk(api, {
      log, t, title: () => this.#title, dress: () => this.#dress(), busy: (yes) => this.#busy(yes), banner: (...told) => this.#banner(...told),
      line: () => this.#line(), scroll: (always) => this.scroll(always), announce: (text) => this.announce(text),
      emit: (...told) => this.#emit(...told), focus: () => this.focus(), passage: (...asked) => this.#passage(...asked), person: (name) => this.#person(name),
    }, tag);
    const page = getComputedStyle(document.documentElement).direction;
    root.dir = this.dataset.dir || (RIGHT_TO_LEFT.test(tag) ? "rtl" : this.dataset.language ? "ltr" : page);
    root.lang = language;
    const shadow = this.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [SHEET];
    shadow.append(root);
    this.#busy(false);
    this.#dress();
  }

  /** What can change from outside: title, colours, the size of the window. */
  #dress() {
    const { root, title, avatar, panel, launcher, note } = this.#parts;
    const { theme } = this.dataset;
    root.dataset.scheme = ["light", "dark"].includes(theme) ? theme : DARK.matches ? "dark" : "light";
    root.classList.toggle("open", this.#opened);
    root.classList.toggle("filling", this.#filling);
    title.textContent = this.#title;
    avatar.textContent = [...this.#title][0].toUpperCase();
    note.textContent = this.dataset.note ?? (this.#human ? "" : this.t("note"));
    const whole = SMALL.matches && !this.#filling;
    if (this.#filling) panel.setAttribute("role", "region");
    else panel.setAttribute("aria-modal", whole);
    launcher.setAttribute("aria-expanded", this.#opened);
    const name = this.t(this.#opened ? "close" : launcher.classList.contains("new") ? "openNew" : "open");
    launcher.setAttribute("aria-label", name);
    const view = SMALL.matches && this.dataset.position !== "inline" && globalThis.visualViewport;
    panel.style.setProperty("--high", view ? `${view.height}px` : ""); // what the keyboard of a phone leaves free
    panel.style.setProperty("--top", view ? `${view.offsetTop}px` : "");
  }

  #listen() {
    this.#off?.abort();
    this.#off = new AbortController();
    const { signal } = this.#off;
    for (const query of [SMALL, DARK]) query.addEventListener("change", () => this.#dress(), { signal });
    for (const name of ["resize", "scroll"]) {
      globalThis.visualViewport?.addEventListener(name, () => (this.#dress(), this.scroll()), { signal });
    }
    for (const name of ["online", "offline"]) addEventListener(name, () => this.#line(), { signal });
    this.#line();
  }

  /** Whether there is a network, above the text field. */
  #line() {
    this.#banner(navigator.onLine ? "" : this.t("offline"));
  }

  #banner(text, silent) {
    const { banner } = this.#parts;
    if (text && text !== banner.textContent && !silent) this.announce(text);
    banner.textContent = text;
  }

  /** A text of the widget in its language. */
  t(key, values = {}) {
    return (this.#texts[key] ?? TEXTS.en[key]).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  }

  #emit(name, detail = {}) {
    if (name === "reply" && !this.#opened) {
      this.#parts.launcher.classList.add("new");
      this.#dress();
    }
    this.dispatchEvent(new CustomEvent(`sartor:${name}`, { detail, bubbles: true, composed: true }));
  }

  async #renew() {
    this.#emit("token");
    return (await this.refreshToken?.()) || "";
  }

  open({ focus = true } = {}) {
    const before = this.#opened;
    this.#opened = true;
    this.#parts.launcher.classList.remove("new");
    this.#dress();
    if (!before) {
      keep("sessionStorage", this.#key, true);
      this.#emit("open");
    }
    this.#talk.start();
    if (focus) this.focus();
  }

  close() {
    if (!this.#opened || this.#filling) return;
    this.#opened = false;
    keep("sessionStorage", this.#key, false);
    this.#closeSheet?.();
    this.#dress();
    if (this.shadowRoot.activeElement) this.#parts.launcher.focus();
    this.#emit("close");
  }

  /** Begin a new conversation; the earlier one can be gone back to. */
  restart() {
    this.#closeSheet?.();
    this.#talk.restart();
    if (this.#opened) this.focus();
    this.#emit("restart");
  }

  /** Open the chat and send a message as if the person had written it. */
  send(text) {
    this.open({ focus: false });
    return this.#talk.send(text);
  }

  focus() {
    const { panel, field } = this.#parts;
    (matchMedia("(pointer: coarse)").matches ? panel : field).focus({ preventScroll: true });
  }

  async #passage(turn, citation, from) {
    const { panel, main } = this.#parts;
    const layer = sheet((...asked) => this.t(...asked), citation, () => this.#closeSheet());
    const load = async () => {
      try {
        layer.show(await this.#talk.api.json("GET", `turns/${turn}/passages/${citation.number}`));
      } catch (fault) {
        const gone = fault.status === 404;
        if (gone && citation.quote) return layer.show({ ...citation, text: citation.quote });
        const message = gone ? this.t("gone") : this.#talk.explain(fault);
        layer.fail(message, gone ? null : load);
        this.announce(message);
      }
    };
    this.#closeSheet?.();
    this.#closeSheet = () => {
      this.#closeSheet = null;
      layer.node.remove();
      main.inert = false;
      from.focus();
    };
    main.inert = true;
    panel.append(layer.node);
    layer.node.querySelector("button").focus();
    this.#emit("passage", { turn, number: citation.number });
    await load();
  }

  #pressed(event) {
    if (event.key === "Tab" && SMALL.matches && this.#opened && !this.#filling) this.#hold(event);
    if (event.key !== "Escape" || event.isComposing || !(this.#closeSheet || (this.#opened && !this.#filling))) return;
    event.stopPropagation();
    if (this.#closeSheet) this.#closeSheet();
    else this.close();
  }

  /** Where the panel covers the whole page, the focus stays in it. */
  #hold(event) {
    const { panel } = this.#parts;
    const all = [...panel.querySelectorAll("button, textarea, a[href], [tabindex='0']")].filter(
      (node) => !node.disabled && !node.closest("[inert]") && node.checkVisibility({ visibilityProperty: true }));
    const edge = event.shiftKey ? all[0] : all.at(-1);
    const at = this.shadowRoot.activeElement;
    if (at !== edge && !(event.shiftKey && at === panel)) return;
    event.preventDefault();
    (event.shiftKey ? all.at(-1) : all[0]).focus();
  }

  /** Enter sends, unless it ends a word of an input method; with Shift it begins a line. */
  #written(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#submit();
  }

  #submit() {
    const { field, send } = this.#parts;
    if (this.#talk.live || send.disabled) return;
    this.send(field.value);
    field.value = "";
    this.#counted();
    field.focus();
  }

  #counted() {
    const { field, count, send } = this.#parts;
    fit(field);
    const { longest } = this.#talk;
    const left = longest - [...field.value.trim()].length;
    count.textContent = left < 0 ? this.t("tooLong", { count: -left }) : left < longest / 10 ? this.t("left", { count: left }) : "";
    field.setAttribute("aria-invalid", left < 0);
    send.disabled = left < 0 || !field.value.trim();
  }

  /** Who is on the other side: a person by name, one who is awaited (an empty name), or the bot. */
  #person(name) {
    this.#human = name != null;
    this.#parts.role.textContent = this.t(name ? "person" : name === "" ? "awaited" : "assistant", { name });
    this.#dress();
  }

  #busy(yes) {
    const { send, stop, root, field } = this.#parts;
    const focused = this.shadowRoot.activeElement;
    send.hidden = yes;
    stop.hidden = !yes;
    root.classList.toggle("busy", yes);
    if (focused === stop || focused === send) field.focus();
    this.#counted();
  }

  #scrolled() {
    const { log, latest } = this.#parts;
    const far = log.scrollHeight - log.scrollTop - log.clientHeight > 60;
    this.#away = far && (this.#away || log.scrollTop < this.#top);  // on its way down, it goes there of itself
    this.#top = log.scrollTop;
    latest.classList.toggle("shown", this.#away);
  }

  /** To the end, unless the person has scrolled away from it. */
  scroll(always) {
    const { log } = this.#parts;
    if (always !== true && this.#away) return;
    this.#away = false;
    log.scrollTo({ top: log.scrollHeight, behavior: always === true && !still() ? "smooth" : "instant" });
  }

  /** Have a screen reader say something. */
  announce(text) {
    const { speaker } = this.#parts;
    speaker.textContent = speaker.textContent === text ? `${text}\u00a0` : text;
  }
}

if (!customElements.get("sartor-chat")) customElements.define("sartor-chat", SartorChat);

if (SCRIPT?.dataset.bot) {
  const place = () => {
    const there = [...document.querySelectorAll("sartor-chat")].some((chat) => chat.dataset.bot === SCRIPT.dataset.bot);
    if (there) return; // a page that replaces its content runs its scripts again
    const chat = document.createElement("sartor-chat");
    Object.assign(chat.dataset, { server: HERE, ...SCRIPT.dataset });
    document.body.append(chat);
  };
  if (document.body && document.readyState !== "loading") place();
  else addEventListener("DOMContentLoaded", place, { once: true });
}
