"use strict";
// Keeps the page as new as the last report, and its address as what is shown. Everything works without it.
(() => {
  const live = document.getElementById("live");
  let newest = null;
  let fetching = false;

  const say = (text, gone) => {
    if (live.textContent !== text) live.textContent = text;
    live.classList.toggle("gone", gone);
  };

  const opened = () =>
    Array.from(document.querySelectorAll("details.site[open]"), (site) => site.dataset.site);

  const remember = () => {
    const address = new URL(location.href);
    const text = document.getElementById("q")?.value.trim() ?? "";
    const open = opened().slice(0, 50).join(",");
    text ? address.searchParams.set("q", text) : address.searchParams.delete("q");
    open ? address.searchParams.set("open", open) : address.searchParams.delete("open");
    history.replaceState(null, "", address);
  };

  // What has the focus, and what is open inside a site, stays so.
  const replace = (main) => {
    const old = document.getElementById("main");
    const field = document.activeElement?.id === "q" ? document.getElementById("q") : null;
    const caret = field && [field.value, field.selectionStart, field.selectionEnd];
    const focused = document.activeElement?.closest("details.site")?.id;
    const inner = new Set();
    old.querySelectorAll("details.site").forEach((site) =>
      site.querySelectorAll("details.thread").forEach((thread, index) => {
        if (thread.open) inner.add(site.id + " " + index);
      }));
    old.replaceWith(main);
    main.querySelectorAll("details.site").forEach((site) =>
      site.querySelectorAll("details.thread").forEach((thread, index) => {
        thread.open = inner.has(site.id + " " + index);
      }));
    if (caret) {
      const again = document.getElementById("q");
      [again.value] = caret;
      again.focus();
      again.setSelectionRange(caret[1], caret[2]);
    } else if (focused) {
      document.getElementById(focused)?.querySelector("summary").focus();
    }
  };

  const refresh = async () => {
    if (fetching) return;
    fetching = true;
    try {
      remember();
      const asked = location.href;
      const answer = await fetch(asked, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const main = page.getElementById("main");
      if (main) replace(document.adoptNode(main));
      document.title = page.title;
      remember();
      if (location.href !== asked) setTimeout(refresh, 0);
    } catch {
      say("Not up to date: the server does not answer.", true);
    } finally {
      fetching = false;
    }
  };

  let typing = 0;
  document.addEventListener("input", (event) => {
    if (event.target.id !== "q") return;
    clearTimeout(typing);
    typing = setTimeout(refresh, 250);
  });
  document.addEventListener("submit", (event) => {
    event.preventDefault();
    refresh();
  });
  document.addEventListener("toggle", (event) => {
    if (event.target.classList?.contains("site")) remember();
  }, true);

  const events = new EventSource("/api/events");
  events.addEventListener("open", () => say("Live.", false));
  events.addEventListener("report", (event) => {
    say("Live.", false);
    const first = newest === null;
    newest = event.lastEventId;
    if (!first) refresh();
  });
  events.addEventListener("error", () =>
    say("The connection is lost: what is shown is not up to date. Trying again.", true));
})();
