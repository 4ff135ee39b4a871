// Writes text into pages. HTML is never written.

export const byId = (id) => document.getElementById(id);
export const part = (root, name) => root.querySelector(`[data-is="${name}"]`);

// Only changes are written, because a screen reader repeats text that is written again.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function tell(node, text, tone = "") {
  say(node, text);
  node.classList.toggle("bad", tone === "bad");
}

export const copyOf = (templateId) => byId(templateId).content.firstElementChild.cloneNode(true);

export function badge(node, state, text) {
  say(node, text);
  if (node.dataset.state !== state) node.dataset.state = state;
}
