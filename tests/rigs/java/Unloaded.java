import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Many classes, each loaded for one connection, whose end it reads and forgets, and unloaded soon after: what the
 * machine keeps of them is thrown away, and written over by the next. Prints the number of each and its client's port.
 */
public class Unloaded {
    static final List<Socket> held = new ArrayList<>();

    public interface Work {
        int run(InputStream in) throws Exception;
    }

    /** Copied under other names of the same length. */
    public static class Reader00 implements Work {
        public int run(InputStream in) throws Exception {
            return read00(in, 100);
        }

        static int read00(InputStream in, int turns) throws Exception {
            int sum = 0;
            for (int i = 0; i < turns; i++) {
                sum += i % 7;
            }
            while (in.read() >= 0) {
                sum++;
            }
            return sum;
        }
    }

    static final class Loader extends ClassLoader {
        Class<?> define(byte[] code) {
            return defineClass(null, code, 0, code.length);
        }
    }

    static Work load(byte[] code, int number) throws Exception {
        String digits = String.format("%02d", number);
        String text = new String(code, StandardCharsets.ISO_8859_1);
        text = text.replace("Reader00", "Reader" + digits).replace("read00", "read" + digits);
        Class<?> made = new Loader().define(text.getBytes(StandardCharsets.ISO_8859_1));
        return (Work) made.getDeclaredConstructor().newInstance();
    }

    public static void main(String[] args) throws Exception {
        byte[] code;
        try (InputStream file = Unloaded.class.getResourceAsStream("Unloaded$Reader00.class")) {
            code = file.readAllBytes();
        }
        ServerSocket listen = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        for (int i = 0; i < 60; i++) {
            Work work = load(code, i);
            Socket accepted;
            try (Socket client = new Socket(listen.getInetAddress(), listen.getLocalPort())) {
                accepted = listen.accept();
                client.getOutputStream().write('x');
            }
            held.add(accepted);
            work.run(accepted.getInputStream());
            System.out.println(i + " " + accepted.getPort());
            if (i % 10 == 9) {
                work = null;
                System.gc();
            }
            Thread.sleep(Long.parseLong(args[0]));
        }
        System.out.println("stuck");
        System.in.read();
    }
}
