// Remarks and tables of a track, where it has some: texts are only ever set as text.

// seek: called with a frame of the video.
function showTables({ remarks = [], tables = [] }, seek) {
  const show = (id, made) => {
    document.getElementById(id).hidden = !made.length;
    document.getElementById(id).replaceChildren(...made);
  };
  show("remarks", remarks.map((text) => element("p", "", text)));
  show("tables", tables.map((table) => tableOf(table, seek)));
}

// A cell is a text, or a list of frames to jump to.
function tableOf({ title, note, head, rows }, seek) {
  const line = (cells, first, other) => {
    const row = element("tr");
    row.append(...cells.map((cell, i) => {
      const made = element(i ? other : first);
      if (Array.isArray(cell)) made.append(...cell.map((frame) => jumpTo(frame, seek)));
      else made.textContent = cell;
      return made;
    }));
    return row;
  };
  const [top, body, whole] = [element("thead"), element("tbody"), element("table")];
  top.append(line(head, "th", "th"));
  body.append(...rows.map((cells) => line(cells, "th", "td")));
  whole.append(top, body);
  const box = element("div", "table");
  box.append(element("h2", "", title), whole);
  if (note) box.append(element("p", "", note));
  return box;
}

function jumpTo(frame, seek) {
  const button = element("button", "", `${frame}`);
  button.addEventListener("click", () => seek(frame));
  return button;
}
