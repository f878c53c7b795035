// Buttons of the page's head: light or dark, and the link to this view.
import { say } from "./dom.js";

export function theme() {
  const toggle = document.getElementById("theme");
  const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const show = () => { toggle.textContent = dark() ? "Light" : "Dark"; };
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* no storage: the choice lasts as long as the page */ }
  if (kept) document.documentElement.dataset.theme = kept;
  toggle.onclick = () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", document.documentElement.dataset.theme); } catch { /* as above */ }
    show();
    dispatchEvent(new Event("themed"));
  };
  show();
}

export function copyLink(state) {
  const button = document.getElementById("link");
  button.hidden = !location.protocol.startsWith("http"); // the address of a file is of no use to others
  button.onclick = async () => {
    state.write();
    try {
      await navigator.clipboard.writeText(location.href.replace(/[?&]token=[^#]*/, ""));
      say("Link copied.");
    } catch {
      say("The browser does not allow copying. Copy the link from the address bar.");
    }
  };
}
