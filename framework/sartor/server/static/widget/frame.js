/* The outer parts of the widget: bubble, panel, composer, and the sheet that shows a passage. */

/** All fixed elements of the widget, by name; `on` holds what its buttons do. */
function frame(t, on) {
  const field = h("textarea", { rows: 1, "aria-label": t("message"), placeholder: t("write"), enterkeyhint: "send", dir: "auto", oninput: on.input, onkeydown: on.key, "aria-describedby": "count" });
  const parts = {
    launcher: h("button", { type: "button", class: "launcher", "aria-haspopup": "dialog", "aria-controls": "panel", onclick: on.toggle }, icon("chat"), icon("down"), h("i", { class: "badge" })),
    avatar: h("span", { class: "avatar", "aria-hidden": "true" }),
    title: h("h2", { id: "title" }),
    restart: iconButton("restart", t("restart"), { onclick: on.restart }),
    close: iconButton("close", t("close"), { onclick: on.close, class: "plain closer" }),
    log: h("div", { class: "log", role: "log", "aria-live": "polite", "aria-label": t("log"), tabindex: 0, onscroll: on.scroll }),
    latest: iconButton("down", t("latest"), { class: "plain latest", onclick: on.latest }),
    banner: h("div", { class: "banner" }),
    field,
    count: h("span", { class: "count", id: "count" }),
    send: h("button", { type: "submit", class: "send", "aria-label": t("send"), title: t("send") }, icon("send")),
    stop: h("button", { type: "button", class: "send", "aria-label": t("stop"), title: t("stop"), onclick: on.stop }, icon("stop")),
    role: h("p", { class: "small", "aria-live": "polite", dir: "auto" }, t("assistant")),
    note: h("p", { class: "small" }, t("note")),
    speaker: h("div", { class: "spoken speaker", "aria-live": "polite", role: "status" }),
  };
  parts.main = h("div", { class: "main-part" },
    h("div", { class: "head" }, parts.avatar, h("div", { class: "names" }, parts.title, parts.role), parts.restart, parts.close),
    h("div", { class: "middle" }, parts.log, parts.latest),
    parts.banner,
    h("form", { class: "composer", onsubmit: on.submit }, h("div", { class: "box" }, field, parts.count, parts.send, parts.stop), parts.note));
  parts.panel = h("div", { class: "panel", id: "panel", role: "dialog", "aria-labelledby": "title", tabindex: -1 }, parts.main);
  parts.root = h("div", { class: "root", onkeydown: on.keys }, parts.panel, parts.launcher, parts.speaker);
  return parts;
}

/** Let a text field be as high as its text, up to what the style allows. */
function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

/** A layer over the panel with a cited passage. `close` takes it away. */
function sheet(t, citation, close) {
  const heading = h("h2", { id: "passage" }, citation.title || citation.source);
  const body = h("div", { class: "passage", tabindex: 0, role: "document", "aria-labelledby": "passage" }, h("p", { class: "small" }, t("loading")));
  const node = h("div", { class: "sheet", role: "dialog", "aria-labelledby": "passage" },
    h("div", { class: "head" }, iconButton("back", t("back"), { onclick: close }),
      h("div", { class: "names" }, heading, h("p", { class: "small", dir: "auto" }, t("passage", { number: citation.number })))),
    body);
  const show = (passage) => {
    heading.textContent = passage.title || passage.source;
    const source = (passage.source || "").replace(/#page=(\d+)$/, " · p. $1");
    body.replaceChildren(h("p", { class: "origin", dir: "auto" }, source), h("div", { class: "words", dir: "auto" }, marked(passage.text, passage.quotes || [passage.quote || citation.quote || ""])));
    body.querySelector("mark")?.scrollIntoView({ block: "center" });
  };
  return { node, show, fail: (message, again) => body.replaceChildren(notice(message, again && t("again"), again)) };
}

/** `text` with `quotes` marked where they stand, whatever the blanks between their words. */
function marked(text, quotes) {
  const find = (quote) => {
    const words = quote.trim().split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const match = words[0] && new RegExp(words.join("\\s+")).exec(text);
    return match && [match.index, match.index + match[0].length];
  };
  const parts = [];
  let at = 0;
  for (const [from, to] of quotes.map(find).filter(Boolean).sort(([one], [other]) => one - other)) {
    if (from < at) continue;
    parts.push(text.slice(at, from), h("mark", null, text.slice(from, to)));
    at = to;
  }
  return [...parts, text.slice(at)];
}
