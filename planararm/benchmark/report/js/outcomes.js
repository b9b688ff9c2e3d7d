function startOutcomes() {
  renderers.push((section) => {
    const bars = section.scores.map((score) => {
      const total = score.outcomes.reduce((sum, count) => sum + count, 0);
      const happened = data.outcomes.map((outcome, i) => ({ ...outcome, count: score.outcomes[i] })).filter(({ count }) => count);
      const spoken = `${policyName(score.policy)}: ${happened.map(({ name, count }) => `${count} ${name}`).join(", ")}`;
      const pieces = happened.map(({ css, name, count }) => make(
        "span", { class: css, style: `flex-grow:${count}`, title: `${name}: ${count} of ${total}` },
        count / total > 0.05 ? String(count) : "",
      ));
      return make(
        "div", { class: "stack", role: "listitem" }, make("span", { class: "who" }, policyName(score.policy)),
        make("span", { class: "pieces", role: "img", "aria-label": spoken }, ...pieces),
      );
    });
    clear(byId("stacks")).append(...bars);
    const happens = data.outcomes.filter((_, i) => section.scores.some((score) => score.outcomes[i]));
    clear(byId("outcome-legend")).append(...happens.map(({ css, name, about }) => make(
      "li", {}, make("span", { class: `swatch ${css}`, "aria-hidden": "true" }), make("strong", {}, name), `: ${about}`,
    )));
  });
}
