// The outline of a card beside its slider, in CSS pixels per millimetre. A narrow screen shows the card upright.

const card = document.querySelector("#card");
const slider = document.querySelector("#px-per-mm");
const { long, short } = card.dataset;
const FINE = 0.02; // of a pixel per millimetre: not two pixels of the card's length
const LARGEST = Number(slider.max);
const UPRIGHT_BELOW_PX = 500;

function draw() {
  const room = card.parentElement.clientWidth;
  if (room === 0) return; // not shown yet
  const isUpright = room < UPRIGHT_BELOW_PX;
  const [width, height] = isUpright ? [short, long] : [long, short];
  slider.max = Math.min(LARGEST, Math.floor((room / width) * 100) / 100);
  card.style.setProperty("width", `${width * slider.value}px`);
  card.style.setProperty("height", `${height * slider.value}px`);
  slider.setAttribute("aria-valuetext", slider.dataset.words.replace("{px}", Math.round(width * slider.value)));
}

function step(by) {
  slider.value = Number(slider.value) + by;
  draw();
}

slider.addEventListener("input", draw);
document.querySelector("#smaller").addEventListener("click", () => step(-FINE));
document.querySelector("#larger").addEventListener("click", () => step(FINE));
new ResizeObserver(draw).observe(card.parentElement);
