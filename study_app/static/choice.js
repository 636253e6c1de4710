// The participant's choice between the two buttons of a trial: by mouse, touch, pen or key, and when.

const KEYS = { ArrowLeft: 0, ArrowRight: 1 }; // the button on the left, the button on the right
const METHODS = ["mouse", "touch", "pen"];

// Resolves with { button, at, method } of the first choice made since the time `open` of the page's clock.
export function choiceOf(buttons, open) {
  return new Promise((resolve) => {
    const listeners = new AbortController();
    const { signal } = listeners;
    let press = null; // as with keys, the moment is that of going down; a click comes when the finger is lifted
    const choose = (button, at, method) => {
      if (at < open) return; // pressed while the pictures or masks were still there, and only told now
      listeners.abort();
      for (const one of buttons) one.disabled = true;
      resolve({ button, at, method });
    };
    for (const button of buttons) {
      button.disabled = false;
      button.addEventListener("pointerdown", (event) => (press = { button, at: momentOf(event), type: event.pointerType }), { signal });
      button.addEventListener(
        "click",
        (event) => {
          // Without a pointer: Enter, the space bar, or a screen reader's own command.
          if (event.detail === 0) return choose(button, momentOf(event), "keyboard");
          const began = press?.button === button ? press : { at: momentOf(event), type: event.pointerType };
          choose(button, began.at, METHODS.includes(began.type) ? began.type : "mouse");
        },
        { signal },
      );
    }
    document.addEventListener(
      "keydown",
      (event) => {
        if (!(event.key in KEYS) || event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        choose(buttons[KEYS[event.key]], momentOf(event), "keyboard");
      },
      { signal },
    );
  });
}

// An event's own time is when the device told of it, before it waited for the page to be free. Where it is not on the
// clock of performance.now(), as in browsers that count from 1970 or from the machine's start, the time is now.
function momentOf(event) {
  const now = performance.now();
  return event.timeStamp > 0 && event.timeStamp <= now ? event.timeStamp : now;
}
