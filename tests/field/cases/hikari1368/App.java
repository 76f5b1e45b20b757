import com.sun.net.httpserver.*;
import com.zaxxer.hikari.*;
import java.net.*;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
public class App {
  static HikariDataSource pool;
  static final List<Connection> kept = new ArrayList<>();
  static int loadReport() throws Exception {
    Connection c = pool.getConnection();
    synchronized (kept) { kept.add(c); }
    return 200;
  }
  public static void main(String[] a) throws Exception {
    HikariConfig k = new HikariConfig();
    k.setJdbcUrl("jdbc:hsqldb:mem:x"); k.setUsername("sa"); k.setPassword(""); k.setMaximumPoolSize(2); k.setConnectionTimeout(3600000);
    pool = new HikariDataSource(k);
    HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(a[0])), 64);
    s.setExecutor(Executors.newFixedThreadPool(4));
    s.createContext("/", e -> {
      try { byte[] b = ("" + loadReport()).getBytes(); e.sendResponseHeaders(200, b.length); e.getResponseBody().write(b); } catch (Exception x) { x.printStackTrace(); }
      e.close();
    });
    s.start();
  }
}
