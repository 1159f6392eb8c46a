// The soft ring of an offer, and the page's title.

import { myOffers, on, state } from "./store.js";
import { counts } from "./views.js";

const MUTED = "switchboard.muted";
let audio = null;
let ringing = null;

export const muted = () => localStorage.getItem(MUTED) === "yes";

export function mute(yes) {
  localStorage.setItem(MUTED, yes ? "yes" : "no");
  if (yes) stop();
  else follow();
}

/** Two quiet notes. Browsers allow sound only after the first click or key; until then nothing is heard. */
function chime() {
  if (navigator.userActivation && !navigator.userActivation.hasBeenActive) return;
  audio ??= new AudioContext();
  if (audio.state === "suspended") audio.resume().catch(() => {});
  [[660, 0], [880, 0.18]].forEach(([frequency, delay]) => {
    const start = audio.currentTime + delay;
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = frequency;
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(0.06, start + 0.03);
    volume.gain.exponentialRampToValueAtTime(0.0005, start + 0.7);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 0.75);
  });
}

function stop() {
  clearInterval(ringing);
  ringing = null;
}

function follow() {
  const offers = myOffers().length;
  if (offers === 0) stop();
  else if (ringing === null && !muted()) {
    chime();
    ringing = setInterval(() => (myOffers().length ? chime() : stop()), 4000);
  }
  title(offers);
}

function title(offers) {
  const { needs } = counts();
  const lead = offers ? `● ${offers} offered · ` : needs ? `(${needs}) ` : "";
  document.title = `${lead}Switchboard${state.link === "lost" ? " · not live" : ""}`;
}

export function start() {
  on("conversations link", follow);
}
