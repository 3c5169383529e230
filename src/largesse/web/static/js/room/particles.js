/** Small things that fly: coins, sparks and hearts on one canvas, in one loop that rests when none is left. */

const PARTICLES_MAX = 150;
const GRAVITY = 620;

/** What flies, by what it stands for. Colours are fixed: they lie over a picture, not over paper. */
const KINDS = {
  coin: {colours: ["#e8b134", "#f6d77b", "#c98f1c"], size: 7, lift: 420, spread: 300, life: 1.7, draw: coin},
  spark: {colours: ["#f6d77b", "#9edde5", "#ffffff", "#f2a7a0"], size: 4, lift: 300, spread: 340, life: 1.2, draw: spark},
  heart: {colours: ["#e2574c", "#f08a80", "#f2b8b0"], size: 9, lift: 240, spread: 60, life: 1.9, draw: heart},
};

export class Particles {
  #canvas;
  #flying = [];
  #frame = 0;
  #before = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.clear();
    });
  }

  /** Let `count` of a kind fly from a place, given as parts of the canvas's width and height. */
  burst(kind, count, x, y) {
    const {clientWidth: width, clientHeight: height} = this.#canvas;
    if (document.hidden || !width) return;
    const {colours, size, lift, spread, life} = KINDS[kind];
    const room = Math.min(count, PARTICLES_MAX - this.#flying.length);
    for (let n = 0; n < room; n += 1) {
      this.#flying.push({
        kind,
        x: x * width,
        y: y * height,
        right: (Math.random() - 0.5) * spread,
        down: -lift * (0.45 + Math.random() * 0.75),
        turn: Math.random() * Math.PI,
        spin: (Math.random() - 0.5) * 9,
        size: size * (0.6 + Math.random() * 0.8),
        colour: colours[n % colours.length],
        age: 0,
        life: life * (0.7 + Math.random() * 0.6),
      });
    }
    if (this.#flying.length && !this.#frame) {
      this.#before = performance.now();
      this.#frame = requestAnimationFrame((now) => this.#step(now));
    }
  }

  clear() {
    this.#flying = [];
  }

  #step(now) {
    const seconds = Math.min((now - this.#before) / 1000, 0.05);
    this.#before = now;
    const canvas = this.#canvas;
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.round(canvas.clientWidth * scale);
    const height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    this.#flying = this.#flying.filter((one) => (one.age += seconds) < one.life);
    for (const one of this.#flying) {
      one.down += (one.kind === "heart" ? -40 : GRAVITY) * seconds;
      one.x += one.right * seconds;
      one.y += one.down * seconds;
      one.turn += one.spin * seconds;
      pen.setTransform(scale, 0, 0, scale, one.x * scale, one.y * scale);
      pen.globalAlpha = Math.min(1, (one.life - one.age) * 3);
      pen.fillStyle = one.colour;
      KINDS[one.kind].draw(pen, one);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.globalAlpha = 1;
    this.#frame = this.#flying.length ? requestAnimationFrame((later) => this.#step(later)) : 0;
  }
}

function coin(pen, {size, turn}) {
  pen.beginPath();
  pen.ellipse(0, 0, Math.max(1, size * Math.abs(Math.cos(turn))), size, 0, 0, 7);
  pen.fill();
}

function spark(pen, {size, turn}) {
  pen.rotate(turn);
  pen.fillRect(-size / 2, -size / 2, size, size);
}

function heart(pen, {size, turn}) {
  pen.rotate(Math.sin(turn) * 0.35);
  pen.beginPath();
  pen.moveTo(0, size);
  pen.bezierCurveTo(-size * 1.7, -size * 0.2, -size * 0.8, -size * 1.3, 0, -size * 0.4);
  pen.bezierCurveTo(size * 0.8, -size * 1.3, size * 1.7, -size * 0.2, 0, size);
  pen.fill();
}
