"""Style and script of the review page. The page's policy allows no other, and none inside the HTML."""

CSS = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; --card: #8881; --accent: #017cee; }
* { box-sizing: border-box; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1280px; padding: 16px 20px 48px; }
h1 { font-size: 20px; margin: 0 12px 0 0; display: inline-block; overflow-wrap: anywhere; }
h2 { font-size: 15px; margin: 28px 0 8px; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
.dim { color: var(--dim); } p { margin: 2px 0; } .empty { padding: 48px; text-align: center; color: var(--dim); }
.filters { display: flex; flex-wrap: wrap; gap: 10px; align-items: end; margin: 14px 0; }
.filters label { display: grid; font-size: 11px; color: var(--dim); }
select, button, textarea { font: inherit; padding: 5px 10px; border: 1px solid var(--line); border-radius: 6px; }
textarea { width: 100%; padding: 8px; } button { cursor: pointer; background: var(--card); }
button[value=RELEASE] { background: #1a7f37; color: #fff; } button[value=REJECT] { background: #b42318; color: #fff; }
button:disabled { opacity: .5; cursor: wait; }
.card { display: grid; grid-template-columns: 176px 1fr auto; gap: 14px; align-items: center; color: inherit;
  border: 1px solid var(--line); border-radius: 8px; padding: 8px; margin-bottom: 8px; overflow-wrap: anywhere; }
.card:hover { background: var(--card); text-decoration: none; }
.card img { width: 176px; height: 99px; object-fit: cover; background: var(--card); border-radius: 5px; }
.chip { display: inline-block; background: var(--card); border-radius: 5px; padding: 1px 7px; margin-right: 6px; }
.badge { display: inline-block; border-radius: 10px; padding: 1px 9px; font-size: 12px; }
.badge { background: #e08a00; color: #fff; }
.badge.released, .badge.releasing { background: #1a7f37; } .badge.rejected, .badge.rejecting { background: #b42318; }
.badge.reprocess { background: #6941c6; }
.answer { border: 1px solid var(--line); border-radius: 8px; padding: 12px; margin: 14px 0; }
.buttons { display: flex; gap: 8px; margin: 8px 0; } blockquote { margin: 6px 0 6px 12px; font-style: italic; }
.sheet { width: 100%; min-height: 120px; border: 1px solid var(--line); border-radius: 6px; background: #fff; }
.timeline { max-width: 100%; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-size: 12px; color: var(--dim); }
td, th { padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
tr.quarantine td:nth-child(5), tr.reject td:nth-child(5) { color: #d64545; font-weight: 600; }
tr.warn td:nth-child(5) { color: #e08a00; } dl { display: grid; grid-template-columns: 110px 1fr; gap: 3px; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; } details { margin-top: 8px; }
.pager { display: flex; justify-content: space-between; margin-top: 12px; }
"""

SCRIPT = """
"use strict";
const form = document.getElementById("decide");
if (form) form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const buttons = form.querySelectorAll("button"), said = document.getElementById("said");
  const decision = event.submitter.value, note = form.elements.note.value;
  buttons.forEach((button) => { button.disabled = true; });
  said.textContent = "…";
  try {
    const answer = await fetch(form.dataset.url, {
      method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ decision, note, review_hash: form.dataset.hash }),
    });
    const told = await answer.json();
    said.textContent = told.message || told.detail || answer.statusText;
    if (answer.ok) { location.reload(); return; }
  } catch (error) { said.textContent = String(error); }
  buttons.forEach((button) => { button.disabled = false; });
});
"""
