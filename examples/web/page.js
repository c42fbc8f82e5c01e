// SPDX-License-Identifier: MIT
// What both pages share: where they connect, and what they say.

const query = new URLSearchParams(location.search);

/**
 * Connects `element` as the page's address says, and keeps its status on the page.
 *
 * @param element a <moq-watch> or a <moq-publish>
 * @param broadcast the broadcast's name unless `?broadcast=` gives another
 * @param needs the global that the page cannot do without
 * @param say what to say of the broadcast while the connection stands
 */
export function connect(element, broadcast, needs, say) {
    const output = document.querySelector("output");
    const url = query.get("url") ?? location.origin;
    const name = query.get("broadcast") ?? broadcast;
    document.title += ` ${name}`;
    const problem = check(url, needs);
    if (problem) {
        output.value = problem;
        return;
    }
    // A viewer may well be here before the server.
    element.connection.delay = { initial: 1000, multiplier: 2, max: 5000, timeout: 0 };
    element.signals.run((effect) => {
        const connection = effect.get(element.connection.established);
        // The query may hold a token.
        output.value = connection
            ? say(effect, name, connection)
            : `${effect.get(element.connection.status)}: ${url.split("?")[0]}`;
    });
    element.name = name;
    element.url = url;
}

function check(url, needs) {
    if (!URL.canParse(url)) {
        return "The parameter url is not a URL.";
    }
    if (!isSecureContext) {
        return "Browsers give no codecs, camera and WebTransport to a page at this address. " +
            `Open it as http://localhost:${location.port || 80}/ on the same machine, or over https://.`;
    }
    if (!(needs in window)) {
        return `This browser has no ${needs}. Use a current Chrome, Edge, Firefox or Safari.`;
    }
    return "";
}
