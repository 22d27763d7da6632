/* Markdown as DOM nodes. What it does not know stays text, so nothing that a model writes can become active. */

const DEEPEST = 6;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTED = /^ {0,3}> ?/;
const ITEM = /^(\s*)([-*+•]|\d{1,9}[.)])(\s+)/;
const DIVIDER = /^[\s|:-]*-[\s|:-]*$/;

/** Whether `host` is on the list; an entry is a host (`help.example`) or all below it (`*.example`). */
function listed(host, links) {
  return links.some((entry) => {
    const known = entry.toLowerCase().replace(/^https?:\/\//, "").replace(/[/:].*$/, "");
    return known.startsWith("*.") ? host.endsWith(known.slice(1)) : host === known;
  });
}

/** `text` as a URL that may be opened: http(s), a listed host, no name or password in it. Else null. */
function allowed(text, links) {
  try {
    const url = new URL(text);
    const fine = /^https?:$/.test(url.protocol) && !url.username && !url.password && listed(url.hostname, links);
    return fine ? url.href : null;
  } catch {
    return null;
  }
}

/** Renders into `target`; what has not changed since the last time stays as it is. `options`: links (hosts that may be
 * linked), cite (number → node or null), newTab (spoken after a link). */
class Markdown {
  constructor(target, options) {
    this.target = target;
    this.options = options;
    this.drawn = [];
  }

  draw(text, anew) {
    const pieces = blocks(text.replace(/\r\n?/g, "\n").split("\n"));
    let same = 0;
    if (!anew) while (same < pieces.length && same < this.drawn.length && pieces[same].source === this.drawn[same]) same += 1;
    while (this.target.childNodes.length > same) this.target.lastChild.remove();
    for (const piece of pieces.slice(same)) this.target.append(block(piece, this.options, 0));
    this.drawn = pieces.map((piece) => piece.source);
  }
}

const isTable = (lines, at) =>
  at + 1 < lines.length && lines[at].includes("|") && lines[at + 1].includes("|") && DIVIDER.test(lines[at + 1]);

const isBlock = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTED.test(line) || ITEM.test(line);

/** `lines` cut into blocks: {kind, lines, source}. */
function blocks(lines) {
  const found = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    if (!line.trim()) {
      at += 1;
      continue;
    }
    const kind = FENCE.test(line) ? "code" : HEADING.test(line) ? "heading" : RULE.test(line) ? "rule"
      : QUOTED.test(line) ? "quote" : ITEM.test(line) ? "list" : isTable(lines, at) ? "table" : "text";
    const end = lastOf(kind, lines, at);
    const inner = lines.slice(at, end);
    found.push({ kind, lines: inner, source: `${inner.join("\n")}${end < lines.length ? "\n" : ""}` });
    at = end;
  }
  return found;
}

/** The line after the block that begins at `at`. */
function lastOf(kind, lines, at) {
  let end = at + 1;
  const more = (test) => {
    while (end < lines.length && test(lines[end])) end += 1;
    return end;
  };
  if (kind === "code") {
    const mark = FENCE.exec(lines[at])[1];
    more((line) => !(line.trim().startsWith(mark) && !line.trim().replaceAll(mark[0], "")));
    return Math.min(end + 1, lines.length);
  }
  if (kind === "quote") return more((line) => QUOTED.test(line));
  if (kind === "table") return more((line) => line.includes("|"));
  if (kind === "list") {
    return more((line, next = lines[end + 1] || "") =>
      line.trim() ? ITEM.test(line) || /^\s/.test(line) || !!lines[end - 1].trim() && !isBlock(line) : ITEM.test(next) || /^\s+\S/.test(next));
  }
  if (kind === "text") return more((line) => line.trim() && !isBlock(line) && !isTable(lines, end));
  return end;
}

function block({ kind, lines }, options, depth) {
  if (depth > DEEPEST) return h("p", null, lines.join("\n"));
  const within = (inner) => blocks(inner).map((piece) => block(piece, options, depth + 1));
  if (kind === "code") {
    const closed = lines.length > 1 && /^\s*(`{3,}|~{3,})\s*$/.test(lines.at(-1));
    return h("pre", { tabindex: 0, dir: "ltr" }, h("code", null, lines.slice(1, closed ? -1 : undefined).join("\n")));
  }
  if (kind === "heading") {
    const [, marks, text] = HEADING.exec(lines[0]);
    return h("p", { role: "heading", "aria-level": Math.max(3, Math.min(marks.length + 1, 6)), class: "heading" }, inline(text, options));
  }
  if (kind === "rule") return h("hr");
  if (kind === "quote") return h("blockquote", null, within(lines.map((line) => line.replace(QUOTED, ""))));
  if (kind === "table") return table(lines, options);
  if (kind === "list") return list(lines, options, within);
  return h("p", null, inline(lines.map((line) => line.trim()).join("\n"), options));
}

function list(lines, options, within) {
  const [, margin, mark] = ITEM.exec(lines[0]);
  const items = [];
  let width = 0;
  for (const line of lines) {
    const match = ITEM.exec(line);
    if (match && match[1].length < margin.length + 2) {
      width = match[0].length;
      items.push([line.slice(width)]);
    } else items.at(-1).push(line.slice(Math.min(width, line.length - line.trimStart().length)));
  }
  const made = items.map((item) => {
    const inner = within(item);
    const first = inner[0];
    return h("li", null, first?.localName === "p" && !first.className ? [...first.childNodes, ...inner.slice(1)] : inner);
  });
  const ordered = /\d/.test(mark);
  return h(ordered ? "ol" : "ul", { start: ordered && parseInt(mark, 10) !== 1 ? parseInt(mark, 10) : null }, made);
}

function table(lines, options) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => inline(cell.trim(), options));
  const [head, , ...rows] = lines;
  const row = (line, name) => h("tr", null, cells(line).map((cell) => h(name, name === "th" ? { scope: "col" } : null, cell)));
  return h("div", { class: "table", tabindex: 0, role: "group" },
    h("table", null, h("thead", null, row(head, "th")), h("tbody", null, rows.map((line) => row(line, "td")))));
}

const MARKS = { "**": "strong", __: "strong", "*": "em", _: "em", "~~": "del" };
const WORD = /[\p{L}\p{N}]/u;

/** The nodes of a stretch of text. */
function inline(text, options, depth = 0) {
  const nodes = [];
  const hopeless = new Set();
  let plain = "";
  const add = (node) => {
    if (plain) nodes.push(plain);
    plain = "";
    nodes.push(node);
  };
  for (let at = 0; at < text.length; ) {
    const found = depth < DEEPEST && special(text, at, options, depth, hopeless);
    if (found) {
      const word = found.cite && /\S{1,30} $/.exec(plain);
      if (word) plain = plain.slice(0, word.index); // the number stays on the line of its word
      if (found.node != null) add(word ? h("span", { class: "tied" }, word[0], found.node) : found.node);
      if (found.text) plain += found.text;
      at = found.end;
    } else plain += text[at++];
  }
  if (plain) nodes.push(plain);
  return nodes;
}

/** What begins at `at` other than plain text: {node or text, end}; else null. */
function special(text, at, options, depth, hopeless) {
  const char = text[at];
  if (char === "\n") return { node: h("br"), end: at + 1 };
  if (char === "\\" && /[\\`*_~[\](){}#+.!|<>-]/.test(text[at + 1] || "")) return { text: text[at + 1], end: at + 2 };
  if (char === "`") return code(text, at, hopeless);
  if (char === "!" && text[at + 1] === "[") return image(text, at, options);
  if (char === "[") return cited(text, at, options) || link(text, at, options, depth);
  if (char === "<" || char === "h") return bare(text, at, options);
  if ("*_~".includes(char)) return emphasis(text, at, options, depth, hopeless);
  return null;
}

function code(text, at, hopeless) {
  const mark = /^`+/.exec(text.slice(at, at + 20))[0];
  for (let end = text.indexOf(mark, at + mark.length); !hopeless.has(mark) && end > 0; ) {
    let after = end;
    while (text[after] === "`") after += 1;
    if (after - end === mark.length) return { node: h("code", null, text.slice(at + mark.length, end).trim()), end: after };
    end = text.indexOf(mark, after);
  }
  hopeless.add(mark);
  return { text: mark, end: at + mark.length };
}

function emphasis(text, at, options, depth, hopeless) {
  const mark = text.startsWith(text[at].repeat(2), at) ? text[at].repeat(2) : text[at];
  const start = at + mark.length;
  const name = MARKS[mark];
  const open = name && !hopeless.has(mark) && /\S/.test(text[start] || "") && !(mark[0] === "_" && WORD.test(text[at - 1] || ""));
  for (let end = open ? text.indexOf(mark, start + 1) : -1; end > 0; end = text.indexOf(mark, end + 1)) {
    const next = text[end + mark.length] || "";
    if (/\s/.test(text[end - 1]) || (mark.length === 1 && (next === mark || text[end - 1] === mark))) continue;
    if (mark[0] === "_" && WORD.test(next)) continue;
    const after = mark.length === 2 && next === mark[0] ? end + 1 : end; // ***both***
    return { node: h(name, null, inline(text.slice(start, after), options, depth + 1)), end: after + mark.length };
  }
  if (open) hopeless.add(mark);
  return { text: mark, end: start };
}

/** [3]: a citation. */
function cited(text, at, options) {
  const match = /^\[(\d{1,3})\](?!\()/.exec(text.slice(at, at + 7));
  const node = match && options.cite?.(Number(match[1]));
  return node ? { node, cite: true, end: at + match[0].length } : null;
}

/** The label and target of [label](target "title") at `at`, and where it ends. */
function labelled(text, at) {
  let depth = 0;
  let close = at;
  for (; close < text.length && close < at + 500; close += 1) {
    if (text[close] === "[") depth += 1;
    if (text[close] === "]" && (depth -= 1) === 0) break;
  }
  const match = /^\]\(\s*<?((?:[^\s()<>]|\([^\s()<>]*\))+)>?(?:\s+"[^"\n]*")?\s*\)/.exec(text.slice(close, close + 2100));
  return match && { label: text.slice(at + 1, close), target: match[1], end: close + match[0].length };
}

function anchor(href, options, children) {
  const rel = "noopener noreferrer nofollow";
  return h("a", { href, rel, target: "_blank" }, children, spoken(` ${options.newTab || ""}`));
}

function link(text, at, options, depth) {
  const found = labelled(text, at);
  if (!found) return null;
  const href = allowed(found.target, options.links);
  const label = inline(found.label, { ...options, links: [], cite: null }, depth + 1);
  if (href) return { node: anchor(href, options, label), end: found.end };
  const shown = /^https?:/i.test(found.target) && found.target !== found.label ? ` (${found.target})` : "";
  return { node: h("span", null, label, shown), end: found.end };
}

function image(text, at, options) {
  const found = labelled(text, at + 1);
  if (!found) return null;
  const src = allowed(found.target, options.links);
  const node = src ? h("img", { src, alt: found.label, loading: "lazy", referrerpolicy: "no-referrer" }) : h("span", null, found.label);
  return { node, end: found.end };
}

/** A URL that stands in the text as it is, or in angle brackets. */
function bare(text, at, options) {
  const match = /^<?(https?:\/\/[^\s<>"'`]+)>?/i.exec(text.slice(at, at + 2000));
  if (!match || (text[at] !== "<" && WORD.test(text[at - 1] || ""))) return null;
  let url = match[1];
  let end = at + match[0].length;
  if (text[at] !== "<") {
    url = url.replace(/[.,:;!?*_~]+$/, "");
    if (url.endsWith(")") && !url.includes("(")) url = url.slice(0, -1);
    end = at + url.length;
  }
  const href = allowed(url, options.links);
  return href ? { node: anchor(href, options, url), end } : { text: url, end };
}
