// Exposure counted in frames of the screen: planned in milliseconds, shown for whole frames, measured as it was.

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));

const SAMPLE_FRAMES = 30;

export class FrameClock {
  interval = 1000 / 60;

  // The refresh interval in ms: the median over half a second of frames, so that a late one does not count.
  async measure() {
    const intervals = [];
    let last = await nextFrame();
    for (let i = 0; i < SAMPLE_FRAMES; i++) {
      const now = await nextFrame();
      intervals.push(now - last);
      last = now;
    }
    intervals.sort((a, b) => a - b);
    const median = intervals[Math.floor(intervals.length / 2)];
    if (median > 2 && median < 50) this.interval = median;
    return this.interval;
  }

  // Calls appear() in one frame and vanish() a whole number of frames later; without a duration, only appear().
  // Times are frame times in ms; late frames are those that came more than half an interval behind.
  async expose(appear, vanish, duration_ms) {
    const onset = await nextFrame();
    appear();
    if (!duration_ms) return { onset, measured_ms: null, late_frames: null };
    const frames = Math.max(1, Math.round(duration_ms / this.interval));
    const end = onset + (frames - 0.5) * this.interval;
    let late = 0;
    let last = onset;
    for (;;) {
      const now = await nextFrame();
      late += Math.max(0, Math.round((now - last) / this.interval) - 1);
      last = now;
      if (now >= end) break;
    }
    vanish();
    return { onset, measured_ms: last - onset, late_frames: late };
  }
}
