// Puts text into pages. Nothing here takes HTML.

export const byId = (id) => document.getElementById(id);
export const part = (root, name) => root.querySelector(`[data-is="${name}"]`);

// Only a change is written: a screen reader repeats what is written anew.
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
