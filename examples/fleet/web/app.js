"use strict";

let token = ""; // gone when the page is closed

const cards = [...document.querySelectorAll("[data-instance]")];
const status = (text, kind = "") => {
	document.getElementById("status").textContent = text;
	document.getElementById("status").className = "state " + kind;
};
const cell = (card, name, text, kind = "") => {
	card.querySelector("." + name).textContent = text;
	card.querySelector("." + name).className = name + " " + kind;
};
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// ask sends a request to the instance of the card, not to the next one.
const ask = (card, method, path) => fetch(path, {
	method, headers: { Authorization: "Bearer " + token, Instance: card.dataset.instance }, cache: "no-store",
});

// settled waits until the instance of the card answers with the status, and
// returns how long that took. It gives up when there is another token.
async function settled(card, want, since) {
	for (const asked = token; asked === token; await wait(5)) {
		if ((await ask(card, "GET", "/me")).status === want) return Math.round(performance.now() - since);
	}
}

document.getElementById("login").addEventListener("submit", async (event) => {
	event.preventDefault();
	const form = Object.fromEntries(new FormData(event.target));
	const answer = await fetch("/login", { method: "POST", body: JSON.stringify(form) });
	if (!answer.ok) return status("Wrong name or password.", "bad");
	token = (await answer.json()).token;
	status("Signed in as " + form.username + ". Sign out at one of the instances.");
	for (const card of cards) {
		cell(card, "token", "not sent yet");
		settled(card, 200, 0).then(() => {
			cell(card, "token", "accepted", "state good");
			card.querySelector("button").disabled = false;
		});
	}
});

for (const card of cards) {
	card.querySelector("button").addEventListener("click", async () => {
		const answer = await ask(card, "POST", "/logout");
		if (!answer.ok) return status("Not signed out: " + answer.status, "bad");
		const since = performance.now();
		for (const { lastElementChild } of cards) lastElementChild.disabled = true;
		status("Signed out at instance " + card.dataset.instance + ".");
		const times = await Promise.all(cards.map(async (other) => {
			const took = await settled(other, 401, since);
			const text = other === card ? "rejected, revoked here" : "rejected after " + took + " ms";
			cell(other, "token", text, "state bad");
			return took;
		}));
		status("Signed out at instance " + card.dataset.instance + ". All instances rejected the token within " + Math.max(...times) + " ms.");
	});
}

// The processes, once a second.
(async () => {
	for (;;) {
		await Promise.all(cards.map(async (card) => {
			const answer = await ask(card, "GET", "/ready");
			const pid = (await answer.text()).match(/pid (\d+)/);
			cell(card, "process", answer.ok && pid ? pid[1] : "not ready", answer.ok ? "" : "state bad");
		}));
		await wait(1000);
	}
})();
