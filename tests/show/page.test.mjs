// The pages in Chromium: every control, every way in, nothing asked of a network, nothing said on the console.
//
// Pictures are not compared with stored ones: those depend on fonts and have to be made anew with every margin. Instead pixels are
// compared with what the page says of the same spot, and with themselves after a control was used and taken back.

import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const folder = resolve(process.env.WGCCL_PAGES);
let browser;

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.WGCCL_CHROMIUM, args: ['--no-sandbox'] });
});

after(() => browser.close());

// Opens a page, runs `body`, and fails where the page complained or asked for anything.
async function open(name, body, { fragment = '', width = 1400, height = 950, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, ...options });
  const page = await context.newPage();
  await page.addInitScript(reader);
  const said = [];
  page.on('console', message => said.push(`console: ${message.text()}`));
  page.on('pageerror', error => said.push(`error: ${error.stack}`));
  page.on('dialog', dialog => {
    said.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', request => {
    if (!/^(file|data):/.test(request.url())) said.push(`request: ${request.url()}`);
  });
  await page.goto(`${pathToFileURL(join(folder, `${name}.html`))}${fragment && `#${fragment}`}`);
  await settled(page);
  await body(page);
  assert.deepEqual(said, [], name);
  await context.close();
}

// Two frames later: what was asked for is drawn.
const settled = page => page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)))));

const status = page => page.textContent('#status');
const title = page => page.textContent('#about h3');
const pressed = (page, id) => page.getAttribute(`#${id}`, 'aria-pressed');

// In the page: a canvas's pixels, read from a copy, because a browser says on the console if its own is read often.
const reader = () => {
  const copy = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  window.pixelsOf = canvas => {
    Object.assign(copy.canvas, { width: canvas.width, height: canvas.height });
    copy.drawImage(canvas, 0, 0);
    return copy.getImageData(0, 0, canvas.width, canvas.height).data;
  };
};

// What a canvas shows, as a number.
const shown = (page, view) => page.evaluate(view => {
  const data = window.pixelsOf(document.querySelector(`#${view} canvas`));
  let hash = 0;
  for (let i = 0; i < data.length; i++) hash = (hash * 31 + data[i]) | 0;
  return hash;
}, view);

// How many pixels of a canvas, or of a part of it (left, top, right, bottom; 1 is all), are of about this colour.
const pixels = (page, view, color, part = [0, 0, 1, 1]) => page.evaluate(([view, color, part]) => {
  const probe = document.createElement('canvas').getContext('2d');
  probe.fillStyle = color.startsWith('--') ? getComputedStyle(document.documentElement).getPropertyValue(color).trim() : color;
  probe.fillRect(0, 0, 1, 1);
  const wanted = probe.getImageData(0, 0, 1, 1).data;
  const canvas = document.querySelector(`#${view} canvas`);
  const data = window.pixelsOf(canvas);
  const [left, top, right, bottom] = part.map((of, at) => of * (at % 2 ? canvas.height : canvas.width));
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    const [x, y] = [(i / 4) % canvas.width, Math.floor(i / 4 / canvas.width)];
    if (x < left || x > right || y < top || y > bottom) continue;
    if (data[i + 3] > 200 && [0, 1, 2].every(part => Math.abs(data[i + part] - wanted[part]) < 12)) count++;
  }
  return count;
}, [view, color, part]);

// The middle of what a view shows of a kind, found by pointing: the first spot on a line at which the details say so.
async function find(page, view, says) {
  const box = await page.locator(`#${view} canvas`).boundingBox();
  for (let y = 8; y < box.height; y += 12) {
    for (let x = 52; x < box.width; x += 18) {
      await page.mouse.move(box.x + x, box.y + y);
      const text = await page.textContent('#about');
      if (says.test(text)) return [x, y, text];
    }
  }
  return assert.fail(`${view} shows nothing that says ${says}`);
}

const EVERY = ['ring2', 'ring4', 'ring8', 'ring72', 'direct24', 'barrier16', 'staged4', 'tree8', 'doubling8', 'gather6', 'to-all8', 'broadcast5', 'barrier6', 'deadlock', 'race', 'lost', 'mixed', 'timed', 'ordered'];

test('every page opens, plays to its end and is quiet', async () => {
  for (const name of EVERY) {
    await open(name, async page => {
      assert.match(await page.title(), / by /, name);
      assert.match(await page.textContent('#facts'), /\d+ ranks? · \d+ chunks?/);
      assert.equal(await page.locator('#verdicts li').count(), 6);
      await page.keyboard.press('End');
      await settled(page);
      assert.notEqual(await status(page), '');
      for (const view of ['topology', 'grid']) assert.ok((await pixels(page, view, '--ink')) + (await pixels(page, view, '--bad')) > 0, `${name} ${view}`);
    });
  }
});

test('16 ranks are below 250 kB, also with barriers', () => {
  assert.ok(statSync(join(folder, 'barrier16.html')).size < 250_000);
});

test('the buttons of playback', async () => {
  await open('ring4', async page => {
    assert.match(await status(page), /^Start/);
    await page.click('#forward');
    assert.match(await status(page), /^Level 1 of 6 · RS round 1 · rank r reads from rank r − 1/);
    await page.click('#forward');
    await page.click('#back');
    assert.match(await status(page), /^Level 1 of 6/);
    await page.click('#last');
    assert.match(await status(page), /^Level 6 of 6/);
    await page.click('#first');
    assert.match(await status(page), /^Start/);
    await page.locator('#scrub').fill('3');
    assert.match(await status(page), /^Level 3 of 6/);
    await page.selectOption('#speed', '16');
    assert.equal(await page.getAttribute('#play', 'aria-label'), 'Play');
    await page.click('#play');
    await page.waitForFunction(() => document.getElementById('status').textContent.startsWith('Level 6 of 6') && !document.getElementById('play').classList.contains('on'));
    assert.equal(await page.getAttribute('#play', 'aria-label'), 'Play');
    // From its end it plays from the start, and stops where it is told to.
    await page.selectOption('#speed', '0.25');
    await page.click('#play');
    await page.waitForFunction(() => document.getElementById('status').textContent.startsWith('Level 1'));
    assert.equal(await page.getAttribute('#play', 'aria-label'), 'Pause');
    await page.click('#play');
    const there = await status(page);
    await settled(page);
    assert.equal(await status(page), there);
  });
});

test('the keys', async () => {
  await open('ring4', async page => {
    const press = async (key, expected) => {
      await page.keyboard.press(key);
      assert.match(await status(page), expected, key);
    };
    await press('ArrowRight', /^Level 1 /);
    await press('.', /^Level 2 /);
    await press(',', /^Level 1 /);
    await press('ArrowLeft', /^Start/);
    await press('End', /^Level 6 /);
    await press('Home', /^Start/);
    await press('ArrowRight', /^Level 1 /);
    await page.keyboard.press('ArrowDown');
    assert.equal(await title(page), 'rank 0 RS round 1');
    await page.keyboard.press('ArrowDown');
    assert.equal(await title(page), 'rank 1 RS round 1');
    await page.keyboard.press('ArrowUp');
    assert.equal(await title(page), 'rank 0 RS round 1');
    await page.keyboard.press('Escape');
    assert.equal(await title(page), 'Level 1 of 6');
    await page.keyboard.press('+');
    assert.equal(await page.inputValue('#speed'), '2');
    await page.keyboard.press('-');
    await page.keyboard.press('-');
    assert.equal(await page.inputValue('#speed'), '0.5');
    for (const [key, id] of [['c', 'critical'], ['b', 'bytes']]) {
      await page.keyboard.press(key);
      assert.equal(await pressed(page, id), 'true');
    }
    await page.keyboard.press('w');
    assert.equal(await page.inputValue('#waits'), 'all');
    await page.keyboard.press('d');
    assert.notEqual(await page.inputValue('#dispatches'), '');
    for (const [key, view] of [['1', 'topology'], ['2', 'grid'], ['3', 'memory']]) {
      await page.keyboard.press(key);
      assert.equal(await page.locator(`#${view}`).isVisible(), false);
      await page.keyboard.press(key);
      assert.equal(await page.locator(`#${view}`).isVisible(), true);
    }
    await page.keyboard.press(' ');
    assert.equal(await page.getAttribute('#play', 'aria-label'), 'Pause');
    await page.keyboard.press(' ');
    // A key on a control is that control's: space on a button presses the button and nothing else.
    await page.focus('#critical');
    await page.keyboard.press(' ');
    assert.equal(await pressed(page, 'critical'), 'false');
    assert.equal(await page.getAttribute('#play', 'aria-label'), 'Play');
  });
});

test('cells of memory by key', async () => {
  await open('ring4', async page => {
    await page.focus('#memory .pane');
    await page.keyboard.press('ArrowRight');
    assert.equal(await title(page), 'rank 0 input[0]');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowDown');
    assert.equal(await title(page), 'rank 1 input[1]');
    assert.match(await page.textContent('#about'), /holdschunk 1 of rank 1 \(1 of 4\)/);
    assert.match(await status(page), /^Start/);
    await page.keyboard.press('.');
    assert.match(await status(page), /^Level 1/);
  });
});

test('overlays change the grid, and go again', async () => {
  await open('doubling8', async page => {
    const plain = await shown(page, 'grid');
    const both = async (on, off, name) => {
      await on();
      await settled(page);
      assert.notEqual(await shown(page, 'grid'), plain, name);
      await off();
      await settled(page);
      assert.equal(await shown(page, 'grid'), plain, name);
    };
    for (const id of ['critical', 'bytes']) await both(() => page.click(`#${id}`), () => page.click(`#${id}`), id);
    await both(() => page.selectOption('#waits', 'all'), () => page.selectOption('#waits', 'here'), 'waits');
    const modes = await page.locator('#dispatches option').allTextContents();
    assert.equal(modes.length, 4);
    assert.match(modes.join(), /per-rank \(\d+\).*per-step \(6\).*fused \(1\)/);
    await both(() => page.selectOption('#dispatches', 'per-step'), () => page.selectOption('#dispatches', ''), 'dispatches');
    const circle = await shown(page, 'topology');
    await page.selectOption('#group', '4');
    await settled(page);
    assert.notEqual(await shown(page, 'topology'), circle);
    await page.selectOption('#group', '0');
    await settled(page);
    assert.equal(await shown(page, 'topology'), circle);
  });
});

test('views are switched off and on', async () => {
  await open('ring4', async page => {
    for (const view of ['topology', 'grid', 'memory']) {
      await page.click(`#view-${view}`);
      assert.equal(await page.locator(`#${view}`).isVisible(), false);
      assert.equal(await pressed(page, `view-${view}`), 'false');
      await page.click(`#view-${view}`);
      await settled(page);
      assert.ok((await pixels(page, view, '--ink')) > 0, view);
    }
  });
});

test('the address holds the state', async () => {
  const at = {};
  await open('tree8', async page => {
    await page.keyboard.press('End');
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowDown');
    await page.click('#critical');
    await page.selectOption('#waits', 'all');
    await page.selectOption('#dispatches', 'per-rank');
    await page.selectOption('#speed', '2');
    await page.selectOption('#group', '2');
    await page.mouse.move(0, 0);
    await settled(page);
    at.fragment = new URL(page.url()).hash.slice(1);
    at.views = [await shown(page, 'topology'), await shown(page, 'grid'), await shown(page, 'memory')];
    at.status = await status(page);
    at.about = await page.textContent('#about');
  });
  for (const part of ['at=7', 'on=step.', 'critical=1', 'waits=all', 'dispatches=per-rank', 'speed=2', 'group=2']) assert.ok(at.fragment.includes(part) || part === 'on=step.' && at.fragment.includes('on=rank.'), at.fragment);
  await open('tree8', async page => {
    assert.deepEqual([await shown(page, 'topology'), await shown(page, 'grid'), await shown(page, 'memory')], at.views);
    assert.equal(await status(page), at.status);
    assert.equal(await page.textContent('#about'), at.about);
    assert.equal(await page.inputValue('#speed'), '2');
    // A new fragment in an open page.
    await page.evaluate(() => { location.hash = 'at=2&views=grid'; });
    await page.waitForFunction(() => document.getElementById('status').textContent.startsWith('Level 2'));
    assert.equal(await page.locator('#memory').isVisible(), false);
    assert.equal(await pressed(page, 'critical'), 'false');
  }, { fragment: at.fragment });
});

test('addresses that make no sense are as good as none', async () => {
  for (const fragment of ['at=-1', 'at=99999', 'at=x&on=step.999999', 'on=place.-1&waits=never', 'order=7.7&axis=time', 'on=__proto__.1', 'views=', 'speed=0&zoom=1e9', '%E0%A4%A', 'group=3&dispatches=x']) {
    await open('ring4', async page => {
      assert.match(await status(page), /^(Start|Level 6 of 6)/, fragment);
      await page.keyboard.press('ArrowLeft');
      await page.keyboard.press('ArrowRight');
      assert.match(await status(page), /^Level/, fragment);
    }, { fragment });
  }
});

test('pointing says what a key says', async () => {
  await open('ring4', async page => {
    await page.keyboard.press('End');
    const [x, y, pointed] = await find(page, 'grid', /^rank 2 AG round 3/);
    await page.mouse.move(0, 0);
    assert.equal(await title(page), 'Level 6 of 6');
    for (let rank = 0; rank <= 2; rank++) await page.keyboard.press('ArrowDown');
    assert.equal(await page.textContent('#about'), pointed);
    await page.keyboard.press('Escape');
    // A click holds it, a second one lets it go.
    const canvas = page.locator('#grid canvas');
    await canvas.click({ position: { x, y } });
    await page.mouse.move(0, 0);
    assert.equal(await page.textContent('#about'), pointed);
    await canvas.click({ position: { x, y } });
    await page.mouse.move(0, 0);
    assert.equal(await title(page), 'Level 6 of 6');
    await find(page, 'topology', /^rank 1\b/);
  });
});

test('links in the details go where they say', async () => {
  await open('ring4', async page => {
    await page.keyboard.press('End');
    for (let rank = 0; rank <= 2; rank++) await page.keyboard.press('ArrowDown');
    await page.locator('#about a', { hasText: 'rank 1 AG round 2' }).first().click();
    assert.equal(await title(page), 'rank 1 AG round 2');
    assert.match(await status(page), /^Level 5 of 6/);
    await page.locator('#about a', { hasText: 'rank 0 output[3]' }).first().click();
    assert.equal(await title(page), 'rank 0 output[3]');
    assert.match(await page.textContent('#about'), /Order of additions.*\(\(r0 \+ r1\) \+ r2\) \+ r3/);
    assert.ok((await page.locator('#about svg path').count()) === 6);
  });
});

test('a cell has the colour of the chunk that it says it holds', async () => {
  const colors = ['#0072b2', '#e69f00', '#009e73', '#56b4e9'];
  await open('ring4', async page => {
    await page.keyboard.press('End');
    await settled(page);
    const box = await page.locator('#memory canvas').boundingBox();
    let seen = 0;
    for (let y = 30; y < box.height - 4; y += 9) {
      for (let x = 60; x < box.width; x += 23) {
        await page.mouse.move(box.x + x, box.y + y);
        const text = await page.textContent('#about');
        const chunk = text.match(/holdschunk (\d) of/)?.[1];
        if (chunk === undefined || !/output/.test(text)) continue;
        await settled(page);
        const near = await page.evaluate(([x, y]) => {
          const canvas = document.querySelector('#memory canvas');
          const data = window.pixelsOf(canvas);
          const found = new Set();
          for (let row = y - 14; row < y + 14; row++) {
            for (let column = x - 10; column < x + 10; column++) {
              const at = 4 * (row * canvas.width + column);
              found.add(`#${[0, 1, 2].map(part => data[at + part]?.toString(16).padStart(2, '0')).join('')}`);
            }
          }
          return [...found];
        }, [x, y]);
        assert.ok(near.includes(colors[chunk]), `${x} ${y} ${chunk}`);
        seen++;
      }
    }
    assert.ok(seen > 16, `${seen}`);
  });
});

test('memory that is drawn cell by cell is as if drawn at once', async () => {
  await open('ring8', async page => {
    for (let level = 0; level < 9; level++) await page.keyboard.press('ArrowRight');
    for (let level = 0; level < 2; level++) await page.keyboard.press('ArrowLeft');
    await settled(page);
    const there = await shown(page, 'memory');
    await open('ring8', async other => assert.equal(await shown(other, 'memory'), there), { fragment: 'at=7' });
  });
});

test('a deadlock is drawn in red, in words too', async () => {
  await open('deadlock', async page => {
    assert.equal(await page.locator('#wrong').isVisible(), true);
    assert.equal(await page.locator('#verdicts .fails').count(), 1);
    await page.click('text=Show the circle of waits');
    await settled(page);
    assert.match(await page.textContent('#about'), /A circle of 4 waits.*rank 0 RS round 3 waits for signal \[row 2\]\[sender 3\], which rank 3 RS round 2 would send/);
    assert.ok((await pixels(page, 'grid', '--bad')) > 300);
    // Four ranks stand above, right, below and left; between them there is nothing but arrows.
    for (const [x, y] of [[0.15, 0.15], [0.6, 0.15], [0.15, 0.6], [0.6, 0.6]]) {
      assert.ok((await pixels(page, 'topology', '--bad', [x, y, x + 0.25, y + 0.25])) > 50, `${x} ${y}`);
    }
  });
});

test('a race is played in an order that goes wrong', async () => {
  await open('race', async page => {
    const before = await shown(page, 'grid');
    assert.equal(await page.locator('#told').textContent(), '');
    await page.locator('#wrong .order').first().click();
    await settled(page);
    assert.match(await page.textContent('#told'), /This order goes wrong.*comes first and.*comes after it/);
    assert.ok((await pixels(page, 'grid', '--bad')) > 100);
    assert.match(new URL(page.url()).hash, /order=2\.0/);
    await page.keyboard.press('End');
    await settled(page);
    assert.ok((await pixels(page, 'memory', '--bad')) > 100);
    await page.locator('#told a').first().click();
    assert.match(await title(page), /^rank \d (RS|AG) round \d/);
    await page.keyboard.press('Escape');
    await page.locator('#wrong .order').first().click();
    await page.keyboard.press('Home');
    await page.mouse.move(0, 0);
    await settled(page);
    assert.equal(await page.locator('#told').textContent(), '');
    assert.equal(await shown(page, 'grid'), before);
  });
});

test('a lost contribution is shown where it was lost', async () => {
  await open('lost', async page => {
    await page.click('text=Show a wrong chunk');
    await settled(page);
    assert.match(await page.textContent('#about'), /lacks the contribution of rank 2\..*Where it went wrong.*rank 2 RS round 3 makes/);
    assert.ok((await pixels(page, 'memory', '--bad')) > 100);
    assert.ok((await pixels(page, 'grid', '--bad')) > 50);
  });
});

test('a verdict tells what it is about', async () => {
  await open('lost', async page => {
    await page.locator('#verdicts button', { hasText: 'result' }).click();
    assert.match(await page.textContent('#about'), /result does not hold.*lacks the contribution of rank 2/);
    await page.locator('#verdicts button', { hasText: 'structure' }).click();
    assert.match(await page.textContent('#about'), /structure holds/);
  });
});

test('names of strangers are text', async () => {
  const hostile = '</script><img src=x onerror=alert(1)>&amp;"\'<!--';
  await open('hostile', async page => {
    assert.equal(await page.textContent('#title'), `all-reduce by ${hostile}`);
    assert.equal(await page.title(), `all-reduce by ${hostile}`);
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowDown');
    await settled(page);
    assert.equal(await title(page), `rank 0 ${hostile}`);
    assert.equal(await page.locator('img').count(), 0);
  });
});

test('a measured run is played by its time, one that is only ordered says so', async () => {
  await open('timed', async page => {
    assert.equal(await page.inputValue('#axis'), 'time');
    assert.match(await page.textContent('#facts'), /a launch by the device’s clock/);
    await page.click('#last');
    assert.match(await status(page), /^35\.00 µs of 35\.00 µs/);
    const narrow = await shown(page, 'grid');
    // Only levels have traffic.
    await page.keyboard.press('b');
    await settled(page);
    assert.equal(await shown(page, 'grid'), narrow);
    await page.keyboard.press('b');
    await page.locator('#zoom').fill('2');
    await settled(page);
    assert.notEqual(await shown(page, 'grid'), narrow);
    await page.selectOption('#channel', '1');
    await page.click('#last');
    assert.match(await status(page), /^40\.00 µs of 40\.00 µs/);
    await page.selectOption('#axis', 'levels');
    await settled(page);
    assert.match(await status(page), /^Start/);
    for (const id of ['zoom', 'channel']) assert.equal(await page.locator(`#${id}`).isVisible(), false);
  });
  await open('ordered', async page => {
    assert.match(await page.textContent('#facts'), /a launch in order only; no times/);
    assert.match(await page.textContent('#grid .note'), /Order only/);
    await page.click('#forward');
    assert.match(await status(page), /^Place 1 of 112/);
    assert.equal(await page.textContent('#axis option[value="time"]'), 'order');
  });
  await open('ring8', async page => assert.equal(await page.locator('#axis').isVisible(), false));
});

test('what is on its way is seen, also where it is very much', async () => {
  for (const name of ['ring8', 'direct24']) {
    await open(name, async page => {
      await page.selectOption('#speed', '0.25');
      await page.keyboard.press(' ');
      await page.waitForFunction(() => document.getElementById('status').textContent.startsWith('Level 1'));
      await page.keyboard.press(' ');
      await settled(page);
      const way = await pixels(page, 'topology', '#d55e00');
      await page.keyboard.press('ArrowRight');
      await settled(page);
      const there = await pixels(page, 'topology', '#d55e00');
      assert.ok(way > there + 30, `${name}: ${way} on the way, ${there} at the end`);
    });
  }
});

test('of many ranks it is said that circles are several', async () => {
  await open('ring72', async page => assert.match(await page.textContent('#topology .note'), /Each circle is 2 ranks/));
});

test('a phone has it all, without scrolling sideways', async () => {
  for (const name of ['ring8', 'ring72', 'race', 'hostile', 'timed', 'to-all8']) {
    for (const width of [320, 390]) {
      await open(name, async page => {
        assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, name);
        const outside = await page.evaluate(() => [...document.querySelectorAll('button, select, input, h1, h2, section')].filter(of => {
          const box = of.getBoundingClientRect();
          return box.width > 0 && (box.left < 0 || box.right > innerWidth);
        }).map(of => of.id || of.textContent));
        assert.deepEqual(outside, [], name);
        await page.click('#forward');
        assert.notEqual(await status(page), '');
      }, { width, height: 800, deviceScaleFactor: 2, hasTouch: true, isMobile: true });
    }
  }
});

// The contrast of two colours, as WCAG counts it.
function contrast(one, other) {
  const light = color => {
    const [r, g, b] = [1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16) / 255).map(part => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

test('light and dark, both readable', async () => {
  const seen = [];
  for (const colorScheme of ['light', 'dark']) {
    await open('ring4', async page => {
      const colors = await page.evaluate(() => Object.fromEntries(['ink', 'muted', 'accent', 'bad', 'good', 'panel', 'ground', 'bad-ground'].map(name => [name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()])));
      for (const [text, ground] of [['ink', 'panel'], ['ink', 'ground'], ['muted', 'panel'], ['muted', 'ground'], ['accent', 'panel'], ['bad', 'panel'], ['bad', 'bad-ground'], ['good', 'panel'], ['accent', 'bad-ground']]) {
        assert.ok(contrast(colors[text], colors[ground]) >= 4.5, `${colorScheme}: ${text} on ${ground} is ${contrast(colors[text], colors[ground])}`);
      }
      seen.push(await shown(page, 'memory'));
      // A page that is open follows.
      await page.emulateMedia({ colorScheme: colorScheme === 'light' ? 'dark' : 'light' });
      await settled(page);
      seen.push(await shown(page, 'memory'));
    }, { colorScheme });
  }
  assert.notEqual(seen[0], seen[1]);
  assert.deepEqual([seen[2], seen[3]], [seen[1], seen[0]]);
});

test('the colours of neighbours differ in grey', () => {
  const source = readFileSync(new URL('../../src/show/page/canvas.js', import.meta.url), 'utf8');
  const hues = source.match(/const HUES = \[(.*?)\]/)[1].match(/#[0-9a-f]{6}/g);
  assert.equal(new Set(hues).size, 8);
  const grey = hues.map(hue => [1, 3, 5].reduce((sum, at, part) => sum + parseInt(hue.slice(at, at + 2), 16) * [0.299, 0.587, 0.114][part], 0));
  grey.forEach((of, at) => {
    const next = grey[(at + 1) % grey.length];
    assert.ok(Math.abs(of - next) > 30, `${hues[at]} ${of} ${next}`);
  });
});

test('all that can be used has a name', async () => {
  for (const name of ['ring8', 'race', 'timed']) {
    await open(name, async page => {
      const nameless = await page.evaluate(() => [...document.querySelectorAll('button, select, input, canvas, a, [tabindex], section')].filter(of => {
        const labelled = of.getAttribute('aria-labelledby');
        const text = of.getAttribute('aria-label') || (labelled && document.getElementById(labelled)?.textContent) || [...(of.labels ?? [])].map(label => label.textContent).join('') || of.textContent;
        return !text?.trim();
      }).map(of => of.outerHTML));
      assert.deepEqual(nameless, []);
      // What happens is said, too.
      await page.keyboard.press('ArrowRight');
      assert.match(await page.textContent('#said'), /RS round 1|of/);
      assert.equal(await page.getAttribute('#said', 'role'), 'status');
      assert.match(await page.getAttribute('#topology canvas', 'aria-label'), /ranks on a circle/);
    });
  }
});

test('who wants no motion gets steps', async () => {
  await open('ring4', async page => {
    await page.selectOption('#speed', '4');
    const still = await page.evaluate(async () => {
      const canvas = document.querySelector('#topology canvas');
      const seen = new Set();
      document.getElementById('play').click();
      while (document.getElementById('play').classList.contains('on')) {
        await new Promise(requestAnimationFrame);
        const data = window.pixelsOf(canvas);
        let hash = 0;
        for (let i = 0; i < data.length; i += 4) hash = (hash * 31 + data[i]) | 0;
        seen.add(hash);
      }
      return seen.size;
    });
    // One picture a level, and that of the start.
    assert.ok(still <= 8, `${still}`);
  }, { reducedMotion: 'reduce' });
});
