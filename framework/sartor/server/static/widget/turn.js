/* One question and what comes of it, on the screen. */

class TurnView {
  /** `chat` gives: t (texts), api, links, title, scroll(), announce(text), passage(turn, citation, from), emit(), pick(text). */
  constructor(chat, question) {
    this.chat = chat;
    this.id = "";
    this.text = "";
    this.citations = [];
    this.tools = new Map();
    this.dots = h("span", { class: "dots", role: "img", "aria-label": chat.t("writing", { title: chat.title }) }, h("i"), h("i"), h("i"));
    this.body = h("div", { class: "text", dir: "auto" });
    this.markdown = new Markdown(this.body, { links: chat.links, newTab: chat.t("newTab"), cite: (number) => this.cite(number) });
    this.steps = h("ul", { class: "steps" });
    this.asks = h("div", { class: "asks" });
    this.bubble = h("div", { class: "bubble", "aria-live": "off" }, spoken(`${chat.title}: `), this.dots, this.body);
    this.foot = h("div", { class: "foot", "aria-live": "off" });
    this.node = h("article", { class: "turn" },
      question && h("div", { class: "bubble mine", "aria-live": "off" }, spoken(`${chat.t("you")} `), h("div", { dir: "auto" }, question)),
      this.steps, chat.author && h("p", { class: "small", dir: "auto", "aria-hidden": "true" }, chat.author), this.bubble, this.asks, this.foot);
  }

  /** Show an event of the turn's stream. */
  take({ name, data }) {
    if (name === "turn") this.id = data.turn;
    if (name === "delta") this.grow(data.text);
    if (name === "tool") this.tool(data);
    if (name === "approval") this.approval(data);
    if (name === "approved") this.approved(data);
    if (name === "finished") this.finish(data);
    this.chat.scroll();
  }

  grow(text) {
    this.text += text;
    this.dots.remove();
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.markdown.draw(this.text);
      this.chat.scroll();
    });
  }

  tool({ id, name, state }) {
    const tool = spaced(name);
    const key = { running: "using", done: "used", failed: "toolFailed" }[state] || "using";
    const line = h("li", { class: `step ${state}` }, icon(state === "running" ? "busy" : state), this.chat.t(key, { tool }));
    if (this.tools.has(id)) this.tools.get(id).replaceWith(line);
    else this.steps.append(line);
    this.tools.set(id, line);
  }

  /** A person must decide about a tool call. */
  approval({ id, tool, arguments: given, reason }) {
    const name = spaced(tool);
    const { chat } = this;
    const decide = async (approve) => {
      const buttons = card.querySelectorAll("button");
      buttons.forEach((button) => (button.disabled = true));
      try {
        await chat.api.json("POST", `turns/${this.id}/approvals/${id}`, { approve });
        this.approved({ id, approve });
        chat.focus();
      } catch (fault) {
        if (fault.status === 409 || fault.status === 404) return card.remove();
        buttons.forEach((button) => (button.disabled = false));
        chat.announce(chat.explain(fault));
      }
    };
    const told = Object.entries(given || {}).map(([key, value]) =>
      h("div", null, h("dt", null, spaced(key)), h("dd", { dir: "auto" }, typeof value === "string" ? value : JSON.stringify(value))));
    const card = h("div", { class: "approval", role: "group", "aria-label": chat.t("ask", { tool: name }) },
      h("strong", null, chat.t("ask", { tool: name })), reason && h("p", null, reason), told.length ? h("dl", null, told) : null,
      h("div", { class: "row" },
        h("button", { type: "button", class: "main", onclick: () => decide(true) }, chat.t("approve")),
        h("button", { type: "button", class: "quiet", onclick: () => decide(false) }, chat.t("decline"))));
    card.tool = name;
    this.tools.set(`approval ${id}`, card);
    this.asks.append(card);
    this.bubble.hidden = !this.text;
  }

  approved({ id, approve }) {
    const card = this.tools.get(`approval ${id}`);
    if (!card?.isConnected) return;
    const key = approve ? "approved" : "declined";
    card.remove();
    this.steps.append(h("li", { class: "step" }, icon(approve ? "done" : "close"), this.chat.t(key, { tool: card.tool })));
    this.bubble.hidden = false;
  }

  /** The turn is over: `turn` is the service's account of it. */
  finish(turn) {
    const { chat } = this;
    cancelAnimationFrame(this.frame);
    this.id = turn.id;
    this.done = true;
    this.text = turn.text ?? this.text;
    this.citations = turn.citations || [];
    this.dots.remove();
    this.markdown.draw(this.text, true);
    this.bubble.hidden = !this.text;
    this.unfinished();
    if (!this.steps.childNodes.length) for (const tool of turn.tools || []) this.tool({ ...tool, state: tool.error ? "failed" : "done" });
    const stopped = (turn.outcome || turn.status) === "cancelled";
    const told = turn.author || ["failed", "handed_over", "silent"].includes(turn.outcome) || (turn.outcome === "answered" && turn.question === "");
    const shown = this.text && !told && !stopped;
    this.foot.replaceChildren(...[stopped && h("p", { class: "note" }, chat.t("stopped")), this.sources(), shown && this.rating(turn.feedback)].filter(Boolean));
  }

  /** What may be answered to a flow, as buttons in the place of the list in its text, until something is said. */
  offer({ flow }) {
    const { t, pick } = this.chat;
    const agree = { confirming: "yes", refused: "again" }[flow?.stage];
    const options = agree ? [agree, "change", "stop"].map((key) => t(key)) : flow?.options || [];
    if (!options.length) return;
    const list = this.body.lastElementChild;
    this.list = !agree && list?.localName === "ul" && [...list.children].every((item) => options.includes(item.textContent)) ? list : null;
    if (this.list) this.list.hidden = true;
    const button = (text) => h("button", { type: "button", class: "quiet", dir: "auto", onclick: () => pick(text) }, text);
    this.asks.append(h("div", { class: "suggestions", role: "group", "aria-label": t("answers") }, options.map(button)));
  }

  /** Something was said: the list again, in the place of the buttons. */
  said() {
    this.asks.replaceChildren();
    if (this.list) this.list.hidden = false;
  }

  /** What was still open is not any more. */
  unfinished() {
    this.asks.replaceChildren();
    this.steps.querySelectorAll(".running").forEach((step) => step.remove());
  }

  /** The reply as it is spoken: without the numbers of sources. */
  words() {
    const copy = this.body.cloneNode(true);
    copy.querySelectorAll(".cite").forEach((cite) => cite.remove());
    copy.querySelectorAll("p, li, td, th, br, pre").forEach((part) => part.before(" "));
    return copy.textContent.replace(/\s+/g, " ").replace(/ (?=[.,])/g, "").trim();
  }

  /** The mark of a citation: while the reply grows a mere number, then a button that opens the passage. */
  cite(number) {
    if (!this.done) return h("sup", { class: "cite" }, number);
    const citation = this.citations.find((known) => known.number === number);
    return citation ? this.opener(citation, "cite", number) : null;
  }

  opener(citation, kind, ...children) {
    const label = kind === "cite" && this.chat.t("source", { number: citation.number, title: citation.title || citation.source });
    const open = (event) => this.chat.passage(this.id, citation, event.currentTarget);
    return h("button", { type: "button", class: kind, "aria-label": label, title: citation.title, onclick: open }, children);
  }

  sources() {
    if (!this.citations.length) return null;
    const first = (one, at, all) => all.findIndex((other) => other.number === one.number) === at;
    const chip = (citation) => h("li", null, this.opener(citation, "chip", h("b", null, citation.number), " ", h("span", { dir: "auto" }, citation.title || citation.source)));
    return h("ul", { class: "sources", "aria-label": this.chat.t("sources") }, this.citations.filter(first).map(chip));
  }

  /** Thumbs, and a comment once one is pressed. */
  rating(given) {
    const { chat } = this;
    const send = async (score, comment) => {
      try {
        await chat.api.json("PUT", `turns/${this.id}/feedback`, { score, ...(comment && { comment }) });
        thumbs.forEach(([value, button]) => button.setAttribute("aria-pressed", value === score));
        chat.emit("feedback", { turn: this.id, score, comment });
        return true;
      } catch (fault) {
        chat.announce(chat.explain(fault));
        return false;
      }
    };
    const press = async (score) => {
      if (!(await send(score))) return;
      chat.announce(chat.t("thanks"));
      place.replaceChildren(this.comment(score, send, place));
      chat.scroll();
    };
    const thumb = (score, drawing, label) =>
      [score, iconButton(drawing, label, { "aria-pressed": given?.score === score ? "true" : "false", onclick: () => press(score) })];
    const thumbs = [thumb(1, "up", chat.t("good")), thumb(-1, "thumb", chat.t("bad"))];
    const place = h("div");
    return h("div", { class: "rating" }, h("div", { class: "row" }, thumbs.map(([, button]) => button)), place);
  }

  comment(score, send, place) {
    const { chat } = this;
    const label = chat.t(score > 0 ? "praise" : "comment");
    const field = h("textarea", { rows: 2, maxlength: 1000, "aria-label": label, placeholder: label, dir: "auto" });
    const submit = async (event) => {
      event.preventDefault();
      if (!field.value.trim() || !(await send(score, field.value.trim()))) return;
      place.replaceChildren(h("p", { class: "note" }, chat.t("thanks")));
      chat.announce(chat.t("thanks"));
      chat.focus();
    };
    return h("form", { class: "comment", onsubmit: submit }, field, h("button", { class: "quiet" }, chat.t("sendComment")));
  }

  /** Say what went wrong, with a button when it can be tried again. */
  fail(message, again) {
    cancelAnimationFrame(this.frame);
    this.dots.remove();
    this.markdown.draw(this.text);
    this.bubble.hidden = !this.text;
    this.unfinished();
    this.foot.replaceChildren(notice(message, again && this.chat.t("again"), again));
    this.chat.announce(message);
    this.chat.scroll();
  }

  /** Back to waiting, before another try. */
  wait(anew) {
    if (anew) {
      this.text = "";
      this.markdown.draw("");
      this.steps.replaceChildren();
      this.asks.replaceChildren();
      this.tools.clear();
    }
    this.foot.replaceChildren();
    this.bubble.hidden = false;
    if (!this.text) this.bubble.prepend(this.dots);
  }
}

const spaced = (name) => name.replace(/[_-]+/g, " ");

/** A line of the chat's own, with one thing that can be done. */
function notice(text, label, onclick, drawing = "failed") {
  return h("div", { class: "notice" }, icon(drawing), h("span", null, text),
    label && h("button", { type: "button", class: "quiet", onclick }, label));
}
