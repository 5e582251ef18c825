// A person in a real browser: opens URL, signs in and agrees wherever a page asks, and prints the last page.
//
// Run as `node browse.mjs URL USER CHROMIUM DIRECTORY`. It writes one JSON line: the title, text and URL of the page
// at which nothing is asked any more, its response's headers, and what the browser asked other addresses for.
import { chromium } from 'playwright-core';

const [url, user, executablePath, directory] = process.argv.slice(2);
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
const context = await chromium.launchPersistentContext(directory, { executablePath, args, headless: true });
try {
  const page = await context.newPage();
  const seen = [];
  page.on('request', (request) => seen.push([request.url().split('?')[0], request.headers().referer ?? '']));
  let response = await page.goto(url);
  for (let steps = 0; steps < 8; steps += 1) {
    const password = page.locator('input[name=password]');
    if (await password.count()) {
      await page.locator('input[name=login]').fill(user);
      await password.fill('any');
    }
    const buttons = page.locator('button[type=submit]');
    if (!await buttons.count()) break;
    [response] = await Promise.all([page.waitForNavigation(), buttons.first().click()]);
  }
  const text = await page.locator('body').innerText();
  const headers = response?.headers() ?? {};
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });
  console.log(JSON.stringify({ title: await page.title(), text, url: page.url(), headers, seen }));
} finally {
  await context.close();
}
