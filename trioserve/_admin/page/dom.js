/* Elements are made here and nowhere else. What comes from a request is text, never markup: nothing of the page assigns
   innerHTML, and `textContent` is the only way in. */

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** A new element; `children` are elements or strings. */
export function make(name, className = "", ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** One symbol of the sprite in index.html. */
export function icon(id, className = "") {
  const svg = document.createElementNS(SVG, "svg"), use = document.createElementNS(SVG, "use");
  if (className) svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#${id}`);
  svg.append(use);
  return svg;
}

/** Change nothing when nothing has changed: a selection of text stays, and no screen reader starts again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Rows of a `dl`, from pairs of a term and a text; those without a text are left out. */
export function facts(list, pairs) {
  const shown = pairs.filter(([, text]) => text);
  const terms = shown.map(([term]) => term).join("\n");
  if (list.dataset.terms !== terms) {
    list.dataset.terms = terms;
    list.replaceChildren(...shown.map(([term]) => make("div", "", make("dt", "", term), make("dd"))));
  }
  shown.forEach(([, text], index) => setText(list.children[index].lastChild, text));
}

/** Said once by a screen reader, when nothing else is being said. */
export function speak(text) { setText($("spoken"), text); }
