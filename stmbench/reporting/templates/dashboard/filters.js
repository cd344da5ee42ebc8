// What is selected, kept in the address behind the #, so that a selection can be sent as a link.
const FORM = document.getElementById("filters");
const FIELDS = ["machine", "metric", "mixer", "model", "last"];

const fill = (select, options, first) => {
  const kept = select.value;
  const all = first === undefined ? options : [["", first], ...options];
  select.replaceChildren(...all.map(([value, text]) => element("option", { value }, text)));
  select.value = all.some(([value]) => value === kept) ? kept : all[0][0];
};

const currentMachine = () => DATA.machines.find((machine) => machine.id === FORM.elements.machine.value);

const fillFor = (machine) => {
  const titles = new Map(machine.series.map((series) => [series.metric, series.title]));
  fill(FORM.elements.metric, [...titles], "all metrics");
  const mixers = [...new Set(machine.series.map((series) => series.mixer).filter(Boolean))].sort();
  fill(FORM.elements.mixer, mixers.map((mixer) => [mixer, mixer]), "all mixers");
  const models = [...new Set(machine.series.map((series) => series.model))].sort();
  document.getElementById("models").replaceChildren(...models.map((model) => element("option", { value: model })));
};

const readAddress = () => {
  const state = new URLSearchParams(location.hash.slice(1));
  if (state.has("machine")) FORM.elements.machine.value = state.get("machine");
  if (!currentMachine()) FORM.elements.machine.value = DATA.machines[0].id;
  fillFor(currentMachine());
  for (const name of FIELDS.slice(1)) {
    FORM.elements[name].value = state.get(name) ?? "";
    if (FORM.elements[name].selectedIndex === -1) FORM.elements[name].value = ""; // a name that is not there
  }
  FORM.elements.steps.checked = state.has("steps");
};

const writeAddress = () => {
  const state = new URLSearchParams();
  for (const name of FIELDS) {
    const single = name === "machine" && DATA.machines.length === 1;
    if (FORM.elements[name].value && !single) state.set(name, FORM.elements[name].value);
  }
  if (FORM.elements.steps.checked) state.set("steps", "1");
  history.replaceState(null, "", state.size ? `#${state}` : location.pathname + location.search);
};

const selected = (machine) => {
  const { metric, mixer, model, steps, last } = FORM.elements;
  const part = model.value.trim().toLowerCase();
  const from = last.value ? Math.max(0, machine.commits.length - Number(last.value)) : 0;
  const chosen = machine.series.filter(
    (series) =>
      (!metric.value || series.metric === metric.value) &&
      (!mixer.value || series.mixer === mixer.value) &&
      (!part || series.model.toLowerCase().includes(part)) &&
      (!steps.checked || series.events.some((event) => event.commit >= from)),
  );
  return { chosen, from };
};
