/* Elements without markup: nothing here, and nothing that uses it, turns a text into HTML. */

/** An element with attributes, listeners (`onclick: …`) and children. Null and false are left out. */
function h(name, given, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(given || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value != null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

const ICONS = {
  chat: "M4 5.5A1.5 1.5 0 0 1 5.5 4h13A1.5 1.5 0 0 1 20 5.5v9a1.5 1.5 0 0 1-1.5 1.5H11l-4.5 4v-4h-1A1.5 1.5 0 0 1 4 14.5z M8 8.8h8 M8 11.7h5",
  down: "M6 9.5l6 6 6-6",
  close: "M6 6l12 12 M18 6L6 18",
  restart: "M4.5 12a7.5 7.5 0 1 0 2.4-5.5 M4.5 4.5v4h4",
  send: "M12 19.5v-15 M5.5 11L12 4.5l6.5 6.5",
  stop: "M7.5 7.5h9v9h-9z",
  back: "M14.5 6l-6 6 6 6",
  up: "M4 11h3.2v8.5H4z M7.2 11l3.9-7a2.3 2.3 0 0 1 2.4 2.6L12.9 10h5.2a2 2 0 0 1 2 2.4l-1.1 5.5a2 2 0 0 1-2 1.6H7.2",
  done: "M5.5 12.5l4.3 4.3 8.7-9.3",
  failed: "M12 7v6.5 M12 16.8v.2 M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17",
  busy: "M12 3.5a8.5 8.5 0 1 1-8.5 8.5",
};

ICONS.thumb = ICONS.up; // turned over by the style

/** A drawing for a button or a line; screen readers pass over it. */
function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon i-${name}`);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with a drawing and a name that is spoken, and shown by the pointer. */
function iconButton(name, label, given) {
  return h("button", { type: "button", class: "plain", "aria-label": label, title: label, ...given }, icon(name));
}

/** Text for screen readers only. */
const spoken = (text) => h("span", { class: "spoken" }, text);

/** Whether the person asked for less movement. */
const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
