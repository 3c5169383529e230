/** What the dialogs of a room do alike. */

/** A press on the scrim closes; one on the dialog's own ground does not. */
export function closeOutside(event) {
  const dialog = event.currentTarget;
  if (event.target !== dialog) return;
  const {left, right, top, bottom} = dialog.getBoundingClientRect();
  const {clientX: x, clientY: y} = event;
  if (x < left || x > right || y < top || y > bottom) dialog.close();
}

export function closeDialog(event) {
  event.currentTarget.closest("dialog").close();
}

/** A key that is held down presses once. */
export function ignoreRepeats(event) {
  if (event.repeat && (event.key === "Enter" || event.key === " ")) event.preventDefault();
}
