// Masks: patterns of coloured rectangles (Mondrians) that end what is left of a picture in the eye.

const RECTANGLES = 250;
const SMALLEST = 0.04; // of the picture's width and height
const LARGEST = 0.25;

const between = (low, high) => low + (high - low) * Math.random();

// n canvases of so many pixels, each unlike the others.
export function drawMasks(n, width, height) {
  return Array.from({ length: n }, () => {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d", { alpha: false });
    for (let i = 0; i <= RECTANGLES; i++) {
      // Every colour of sRGB alike: hue, saturation and lightness of all pictures lie within.
      context.fillStyle = `rgb(${between(0, 255)} ${between(0, 255)} ${between(0, 255)})`;
      const w = width * (i ? between(SMALLEST, LARGEST) : 2); // the first is the ground
      const h = height * (i ? between(SMALLEST, LARGEST) : 2);
      context.fillRect(between(0, width) - w / 2, between(0, height) - h / 2, w, h);
    }
    return canvas;
  });
}
