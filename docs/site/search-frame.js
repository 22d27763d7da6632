// A page that is opened from a disk gets no worker. So its search runs in a frame that nobody sees, in place of one.
if (location.protocol === "file:")
  window.Worker = class {
    constructor(address) {
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      this.inside = this.frame.contentWindow;
      this.inside.postMessage = data => setTimeout(() => this.onmessage?.(new MessageEvent("message", {data})));
      const script = this.inside.document.createElement("script");
      this.ready = new Promise(done => { script.onload = done; });
      script.onerror = event => this.onerror?.(event);
      script.src = new URL(address, location).href;
      this.inside.document.body.append(script);
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", {data})));
    }

    terminate() {
      this.frame.remove();
    }
  };
