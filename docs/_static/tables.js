// Tables of sentences are laid out row by row on narrow screens (custom.css), where each cell needs
// the title of its column.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.docutils")) {
    const rows = [...table.tBodies].flatMap((body) => [...body.rows].map((row) => [...row.cells]));
    if (!rows.flat().some((cell) => cell.textContent.trim().length > 35)) continue;
    table.classList.add("sentences");
    const titles = [...table.querySelectorAll("thead th")].map((cell) => cell.textContent.trim());
    for (const cells of rows) {
      cells.forEach((cell, place) => place && titles[place] && (cell.dataset.title = titles[place]));
    }
  }
});
