import com.sun.net.httpserver.*;
import java.net.*;
import java.util.*;
import java.util.concurrent.*;
import okhttp3.*;
public class App {
  static final OkHttpClient client = new OkHttpClient();
  static final List<Response> kept = new ArrayList<>();
  static int port;
  static int checkStock() throws Exception {
    Response answer = client.newCall(new Request.Builder().url("http://127.0.0.1:" + (port + 1) + "/stock").build()).execute();
    synchronized (kept) { kept.add(answer); }
    return answer.code();
  }
  public static void main(String[] a) throws Exception {
    port = Integer.parseInt(a[0]);
    HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 64);
    s.setExecutor(Executors.newFixedThreadPool(4));
    s.createContext("/", e -> {
      try { byte[] b = ("" + checkStock()).getBytes(); e.sendResponseHeaders(200, b.length); e.getResponseBody().write(b); } catch (Exception x) { x.printStackTrace(); }
      e.close();
    });
    s.start();
  }
}
