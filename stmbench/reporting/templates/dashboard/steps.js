// The table of change points, newest first.
const AT_ONCE = 12;
let stepsShown = AT_ONCE;

// Conditions are told where a model has several series of a metric, and else left to the chart.
const twins = (machine, series) =>
  machine.series.some((other) => other !== series && other.model === series.model && other.metric === series.metric);

const stepRow = (machine, event, show) => {
  const series = machine.series[event.series];
  const [, seconds, subject] = machine.commits[event.commit];
  const count = event.last - event.first + 1;
  const suspects = element("td", { class: "suspects" });
  if (count === 1) suspects.append("this commit");
  else suspects.append(`${count}: `, commitLink(machine, event.first), " to ", commitLink(machine, event.last));
  const name = element("button", { type: "button" }, series.model);
  name.addEventListener("click", () => show(series));
  return element(
    "tr", {},
    element("td", {}, commitLink(machine, event.commit), subject ? ` ${subject}` : ""),
    element("td", { class: "date" }, dateOf(seconds)),
    element("td", { class: "name" }, name),
    element("td", {}, series.title, element("small", {}, twins(machine, series) ? ` ${series.where}` : "")),
    element("td", { class: `verdict ${kind(event)}` }, `${SIGNS[kind(event)]} ${event.verdict}`),
    element("td", { class: `number ${kind(event)}` }, event.change),
    element("td", { class: "number" }, event.before),
    element("td", { class: "number" }, event.after),
    suspects,
  );
};

const listSteps = (machine, chosen, from, show) => {
  const places = new Set(chosen);
  const events = machine.events.filter((event) => places.has(machine.series[event.series]) && event.commit >= from);
  const body = document.querySelector("#steps tbody");
  body.replaceChildren(...events.slice(0, stepsShown).map((event) => stepRow(machine, event, show)));
  document.getElementById("steps").hidden = !events.length;
  const worse = events.filter((event) => event.worse > 0).length;
  const better = events.filter((event) => event.worse < 0).length;
  document.getElementById("steps-count").textContent = events.length
    ? `${events.length} in this selection: ${worse} worse, ${better} better, ${events.length - worse - better} neither`
    : "none in this selection";
  const more = document.getElementById("more-steps");
  more.hidden = events.length <= stepsShown;
  more.textContent = `Show all ${events.length}`;
  more.onclick = () => {
    stepsShown = Infinity;
    listSteps(machine, chosen, from, show);
  };
};
