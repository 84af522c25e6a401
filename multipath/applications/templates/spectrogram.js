// Draws spectrograms of sounds in the page: look(canvas, address, highest frequency in Hz).
const MAGMA = {{ magma | tojson }};
const look = (() => {
  const RATE = 8000, SIZE = 256, RANGE = 60;  // Hz, samples, dB
  const decoder = new OfflineAudioContext(1, 1, RATE);
  const cosine = Float32Array.from({length: SIZE}, (_, i) => Math.cos(2 * Math.PI * i / SIZE));
  const sine = Float32Array.from({length: SIZE}, (_, i) => Math.sin(2 * Math.PI * i / SIZE));
  const draw = (samples, highest) => {
    const bins = Math.round(Math.min(highest / RATE, 0.5) * SIZE);
    const hop = Math.max(64, Math.ceil(samples.length / 400)), frames = Math.max(1, Math.floor(samples.length / hop));
    const image = new ImageData(frames, bins), power = new Float32Array(frames * bins);
    for (let frame = 0; frame < frames; frame++) {
      const part = cosine.map((value, i) => (samples[frame * hop + i - SIZE / 2] || 0) * (1 - value));
      for (let bin = 0; bin < bins; bin++) {
        let real = 0, imaginary = 0;
        for (let i = 0, turn = 0; i < SIZE; i++, turn = (turn + bin) % SIZE) {
          real += part[i] * cosine[turn];
          imaginary += part[i] * sine[turn];
        }
        power[(bins - 1 - bin) * frames + frame] = real * real + imaginary * imaginary;
      }
    }
    const most = power.reduce((a, b) => Math.max(a, b), 1e-9);
    power.forEach((value, i) => {
      const level = Math.max(0, 1 + 10 * Math.log10(value / most + 1e-9) / RANGE);
      image.data.set([...MAGMA[Math.round(level * (MAGMA.length - 1))], 255], 4 * i);
    });
    return image;
  };
  const images = new Map();
  return async (canvas, address, highest) => {
    canvas.address = address;
    if (!images.has(address)) {
      const bytes = Uint8Array.from(atob(address.split(",")[1]), character => character.charCodeAt(0));
      images.set(address, decoder.decodeAudioData(bytes.buffer).then(sound => draw(sound.getChannelData(0), highest)));
    }
    const image = await images.get(address);
    if (canvas.address !== address) return;  // another came first
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d").putImageData(image, 0, 0);
  };
})();
