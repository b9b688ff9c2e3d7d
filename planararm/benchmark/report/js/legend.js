function sample(policy) {
  return draw(
    "svg", { width: 26, height: 10, "aria-hidden": "true" },
    draw("line", { x1: 1, x2: 25, y1: 5, y2: 5, style: `stroke:${seriesColour(policy)}`, "stroke-width": 2.5, "stroke-dasharray": seriesDash(policy) || null }),
  );
}

function emphasise(policy) {
  document.querySelectorAll("[data-policy]").forEach((element) =>
    element.classList.toggle("faint", policy !== null && Number(element.dataset.policy) !== policy));
}

// Buttons that show and hide the policies in all charts.
function legend(section) {
  const toggle = (policy) => {
    const shown = new Set(state.shown);
    if (!shown.delete(policy)) shown.add(policy);
    update({ shown });
  };
  const buttons = section.scores.map(({ policy }) => {
    const button = make("button", { type: "button", "aria-pressed": String(state.shown.has(policy)) }, sample(policy), policyName(policy));
    button.addEventListener("click", () => {
      toggle(policy);
      byId("policies").querySelectorAll("button")[section.scores.findIndex((score) => score.policy === policy)].focus();
    });
    for (const [event, value] of [["pointerenter", policy], ["pointerleave", null], ["focus", policy], ["blur", null]]) {
      button.addEventListener(event, () => emphasise(value));
    }
    return button;
  });
  const all = make("button", { type: "button", class: "plain", id: "show-all" }, "Show all");
  const none = make("button", { type: "button", class: "plain", id: "show-none" }, "Show none");
  all.addEventListener("click", () => {
    update({ shown: new Set(section.scores.map((score) => score.policy)) });
    byId("show-all").focus();
  });
  none.addEventListener("click", () => {
    update({ shown: new Set() });
    byId("show-none").focus();
  });
  return [...buttons, all, none];
}

const shownScores = (section) => section.scores.filter((score) => state.shown.has(score.policy));

function startLegend() {
  renderers.push((section) => clear(byId("policies")).append(...legend(section)));
}
