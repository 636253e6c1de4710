// Time counted in frames of the screen: steps planned in milliseconds, shown for whole frames, measured as they were.

const SAMPLE_FRAMES = 30;
const FASTEST_MS = 2; // 500 Hz; what lies outside is no screen but a page that was busy or asleep
const SLOWEST_MS = 50;

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));
// A hidden page gets no frames; an answer must not wait for them.
const hiddenFrame = () => new Promise((resolve) => setTimeout(() => resolve(performance.now()), 100));

export class FrameClock {
  interval = 1000 / 60;
  measured = null; // the interval in ms, once it is known

  // The refresh interval in ms: time over frames, where a gap of about two medians counts as two frames, one of them late.
  // The mean is finer than the median alone: some browsers round the times of frames to 1 ms.
  async measure() {
    const gaps = [];
    let last = await nextFrame();
    for (let i = 0; i < SAMPLE_FRAMES; i++) {
      const now = await nextFrame();
      gaps.push(now - last);
      last = now;
    }
    const median = [...gaps].sort((a, b) => a - b)[SAMPLE_FRAMES / 2];
    if (median >= FASTEST_MS && median <= SLOWEST_MS) {
      const sum = (numbers) => numbers.reduce((a, b) => a + b);
      this.interval = this.measured = sum(gaps) / sum(gaps.map((gap) => Math.max(1, Math.round(gap / median))));
    }
    return this.interval;
  }

  // The parts, in ms, of a duration in whole frames shared by n; who gets no frame is left out.
  share(ms, n) {
    const frames = Math.max(1, Math.round(ms / this.interval));
    const bounds = Array.from({ length: n + 1 }, (_, i) => Math.round((i * frames) / n));
    return bounds.slice(1).map((bound, i) => (bound - bounds[i]) * this.interval).filter((part) => part > 0);
  }

  // Shows steps one after the other: draw() in one frame, and the next step's a whole number of frames later, or in the
  // first frame after until(start) has come true. For each step: start and measured_ms by the times of frames, and
  // late_frames, those that came more than half an interval behind. A late frame makes no step longer that can still end in time.
  async play(steps) {
    const played = [];
    let now = await nextFrame();
    for (const { draw, ms, until } of steps) {
      const start = now;
      draw();
      let late = 0;
      if (until) {
        await until(start);
        now = await Promise.race([nextFrame(), hiddenFrame()]);
      } else {
        const end = start + (Math.max(1, Math.round(ms / this.interval)) - 0.5) * this.interval;
        while (now < end) {
          const last = now;
          now = await nextFrame();
          late += Math.max(0, Math.round((now - last) / this.interval) - 1);
        }
      }
      played.push({ start, measured_ms: now - start, late_frames: until ? null : late });
    }
    return played;
  }
}
